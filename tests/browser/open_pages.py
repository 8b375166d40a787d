"""Open the inspection pages in headless Chromium and use them, as a reader would.

    make pages ARGS="FOLDER --only lenet5"          needs Chromium or Google Chrome on the machine

For each page: it loads without a console message and without a request to anywhere, formulas are
drawn (a fraction is taller than a line, limits stand above and below their sum), choosing a
parameter by mouse and by keyboard shows its chain and nothing else, search and theme work, nothing
is wider than a phone, and no page has 2 MB. Pages and screenshots are left in FOLDER. Times are
printed, never checked. Not part of `make test`: there need be no browser on a machine;
tests/test_inspection.py checks what can be seen in the text of a page.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from playwright.sync_api import Page, sync_playwright

from gradwright.inspection.page import network_page
from gradwright.model_file import ModelFile

ROOT = Path(__file__).resolve().parent.parent.parent
LARGEST = 2_000_000
CHOSEN = {
    "computational_graph": ("graph", "x"),
    "mnist_mlp": ("mnist_mlp", "fc1.W"),
    "lenet5": ("lenet5", "conv1.W"),
    "small_gpt": ("small_gpt", "block1.attention.q.W"),
    "vgg16": ("vgg16", "conv1_1.W"),
}
DRAWN = """() => {
  const seen = (m) => m.checkVisibility({ contentVisibilityAuto: true });
  const boxes = [...document.querySelectorAll("main math")].filter(seen)
    .slice(0, 40).map((m) => m.getBoundingClientRect());
  const under = [...document.querySelectorAll("munderover")].find(seen);
  const [sign, low, high] = under ? [...under.children].map((c) => c.getBoundingClientRect()) : [];
  return {
    formulas: document.querySelectorAll("math").length,
    empty: boxes.filter((b) => b.width < 4 || b.height < 8).length,
    stacked: !under || (high.bottom <= sign.top + 6 && low.top >= sign.bottom - 6),
  };
}"""
SHOWN = """() => [...document.querySelectorAll("#steps article")]
  .filter((a) => !a.hidden).map((a) => a.dataset.name)"""
FRAME = "() => new Promise(requestAnimationFrame)"
WIDER = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


def expect(what: bool, said: str) -> None:
    if not what:
        sys.exit(f"FAILED: {said}")


def chain_of(page: Page, name: str) -> set[str]:
    """Every tensor on a path from the loss to this one, read off the page's own data."""
    chain = page.evaluate("() => JSON.parse(document.getElementById('chain').textContent)")
    found, waiting = {name}, [name]
    while waiting:
        more = set(chain.get(waiting.pop(), ())) - found
        found |= more
        waiting += more
    return found


def use(page: Page, address: str, parameter: str, pictures: Path) -> tuple[float, float]:
    """Do everything once; the seconds that opening and choosing took."""
    heard: list[str] = []
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    start = perf_counter()
    page.goto(address, wait_until="load")
    page.evaluate(FRAME)
    opened = perf_counter() - start
    drawn = page.evaluate(DRAWN)
    expect(drawn["formulas"] > 3 and not drawn["empty"] and drawn["stacked"], f"formulas: {drawn}")
    page.screenshot(path=pictures.with_suffix(".png"))
    every = page.evaluate(SHOWN)
    start = perf_counter()
    page.locator(f'.node[data-node="{parameter}"]').dispatch_event("click")
    page.evaluate(FRAME)
    chosen = perf_counter() - start
    wanted = chain_of(page, parameter)
    expect(set(page.evaluate(SHOWN)) == wanted & set(every), f"the chain of {parameter}")
    page.wait_for_timeout(200)
    page.screenshot(path=pictures.with_name(f"{pictures.name}-chain.png"))
    page.keyboard.press("Escape")
    page.evaluate(FRAME)
    expect(page.evaluate(SHOWN) == every, "Escape shows every tensor again")
    page.locator(f'.node[data-node="{parameter}"]').focus()
    page.keyboard.press("Enter")
    page.wait_for_timeout(100)  # the address changes first, the page follows
    expect(set(page.evaluate(SHOWN)) == wanted & set(every), "Enter on a node shows its chain")
    page.locator("#all").click()
    page.locator("#search").fill(parameter.lower())
    expect(0 < len(page.evaluate(SHOWN)) < len(every), "search finds some and not all")
    page.locator("#search").fill("")
    before = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    page.locator("#theme").click()
    after = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    expect(before != after, "the theme changes")
    page.locator("#unfold").click()
    page.evaluate("() => scrollTo(0, 0)")
    page.screenshot(path=pictures.with_name(f"{pictures.name}-dark.png"))
    page.locator("#unfold").click()
    expect(not heard, f"the console says {heard[:3]}")
    expect(len(asked) <= 1 or all(u.startswith(("file:", "data:")) for u in asked), f"asks {asked}")
    return opened, chosen


def phone(page: Page, address: str, pictures: Path) -> None:
    page.goto(address, wait_until="load")
    expect(page.evaluate(WIDER) <= 0, "the page is wider than a phone")
    page.screenshot(path=pictures.with_name(f"{pictures.name}-phone.png"))
    page.goto(f"{address}#kernels")
    page.wait_for_timeout(300)
    page.screenshot(path=pictures.with_name(f"{pictures.name}-phone-kernels.png"))


def main() -> None:
    parser = argparse.ArgumentParser(description="open the inspection pages in headless Chromium")
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--only", nargs="*", default=list(CHOSEN), choices=list(CHOSEN))
    arguments = parser.parse_args()
    folder = (arguments.folder or Path(tempfile.mkdtemp(prefix="pages-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    names = ("chromium", "chromium-browser", "google-chrome")
    chromium = next(filter(None, map(shutil.which, names)), None)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name in arguments.only:
            network, parameter = CHOSEN[name]
            source = ModelFile.parse(f"{ROOT / 'examples' / name}.py:{network}").load()
            start = perf_counter()
            text = network_page(source, batch=16)
            built = perf_counter() - start
            file = folder / f"{name}.html"
            file.write_text(text, encoding="utf-8")
            wide = browser.new_page(viewport={"width": 1400, "height": 1000})
            opened, chosen = use(wide, file.as_uri(), parameter, folder / name)
            narrow = browser.new_page(viewport={"width": 390, "height": 844}, has_touch=True)
            phone(narrow, file.as_uri(), folder / name)
            size = len(text.encode())
            expect(size < LARGEST, f"{name} has {size:,} bytes")
            print(f"{name}: {size:,} bytes, built in {built:.2f} s, opened in {opened:.2f} s, "
                  f"a chain shown in {chosen:.2f} s")  # fmt: skip
            wide.close()
            narrow.close()
        browser.close()
    print(f"pages and screenshots in {folder}")


if __name__ == "__main__":
    main()
