/* What the page does beyond its links: the chain of a chosen tensor, search, details, the theme.
   Without scripts every tensor is shown and every link still leads to its step. */
(() => {
  "use strict";
  const byId = (id) => document.getElementById(id);
  const chain = JSON.parse(byId("chain").textContent);
  const articles = [...document.querySelectorAll("#steps article, #kernels article")];
  const graph = document.querySelector(".graph");
  const status = byId("status");
  const said = status ? status.textContent : "";
  let chosen = null;

  /* Every tensor on a path from the loss to this one. */
  const ancestors = (name) => {
    const seen = new Set([name]);
    const waiting = [name];
    while (waiting.length) {
      for (const reader of chain[waiting.pop()] || []) {
        if (!seen.has(reader)) {
          seen.add(reader);
          waiting.push(reader);
        }
      }
    }
    return seen;
  };

  const draw = () => {
    if (!graph) return;
    graph.classList.toggle("chosen", chosen !== null);
    for (const node of graph.querySelectorAll(".node")) {
      node.classList.toggle("on", chosen !== null && chosen.on.has(node.dataset.node));
      node.classList.toggle("here", chosen !== null && chosen.name === node.dataset.node);
    }
    for (const edge of graph.querySelectorAll(".edge")) {
      const on = chosen !== null && chosen.on.has(edge.dataset.from) && chosen.on.has(edge.dataset.to);
      edge.classList.toggle("on", on && (chain[edge.dataset.from] || []).includes(edge.dataset.to));
    }
  };

  const filter = () => {
    const wanted = (byId("search") ? byId("search").value : "").trim().toLowerCase();
    let shown = 0;
    for (const article of articles) {
      const name = article.dataset.name;
      const off = chosen !== null && name !== undefined && !chosen.on.has(name);
      article.hidden = off || (wanted !== "" && !article.dataset.search.includes(wanted));
      if (!article.hidden) shown += 1;
    }
    if (!status) return;
    byId("all").hidden = chosen === null;
    if (wanted) status.textContent = `${shown} of ${articles.length} found`;
    else if (chosen) status.textContent = `The chain of ${chosen.name}: ${chosen.on.size} tensors, from the loss down`;
    else status.textContent = said;
  };

  /* The centre of the picture follows the chosen tensor. */
  const follow = (name) => {
    const node = graph && [...graph.querySelectorAll(".node")].find((n) => n.dataset.node === name);
    if (!node) return;
    const box = graph.closest(".picture");
    const at = node.getBoundingClientRect();
    const frame = box.getBoundingClientRect();
    box.scrollBy(at.x - frame.x - frame.width / 2, at.y - frame.y - frame.height / 2);
  };

  const read = () => {
    const target = decodeURIComponent(location.hash.slice(1));
    const name = target.startsWith("t-") ? target.slice(2) : "";
    chosen = name in chain ? { name, on: ancestors(name) } : null;
    draw();
    filter();
    const element = target && byId(target);
    if (element && element.tagName === "DETAILS") element.open = true;
    if (chosen) {
      follow(name);
      status.scrollIntoView({ block: "nearest" });
    } else if (element) element.scrollIntoView();
  };

  const all = () => {
    history.replaceState(null, "", location.pathname + location.search);
    read();
  };

  if (byId("search")) {
    byId("search").addEventListener("input", filter);
    byId("all").addEventListener("click", all);
    byId("unfold").addEventListener("click", (event) => {
      const open = event.target.getAttribute("aria-pressed") !== "true";
      event.target.setAttribute("aria-pressed", String(open));
      for (const details of document.querySelectorAll("#steps details")) details.open = open;
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && chosen) all();
      if (event.key === "/" && event.target.tagName !== "INPUT") {
        event.preventDefault();
        byId("search").focus();
      }
    });
  }
  byId("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
  addEventListener("hashchange", read);
  /* A picture wider than its frame opens where the network begins. */
  const begin = () => {
    const nodes = graph ? [...graph.querySelectorAll(".node rect")] : [];
    if (!nodes.length) return;
    const first = nodes.reduce((a, b) => (Number(b.getAttribute("y")) < Number(a.getAttribute("y")) ? b : a));
    const box = graph.closest(".picture");
    const at = first.getBoundingClientRect();
    box.scrollLeft += at.x - box.getBoundingClientRect().x - box.clientWidth / 2;
  };

  if (location.hash) read();
  else if (!document.body.classList.contains("across")) begin();
})();
