"""Two hundred names that nobody means well with, by what they are after."""

from __future__ import annotations

import keyword

KINDS: dict[str, list[object]] = {
    "ends a string or a comment": [
        "a'", 'a"', "a'''", 'a"""', "a`", "a\\", "a\\'", 'a\\"', "*/ int evil; /*", "a*/",
        "/*a", "//a",
        "a//b", "#a", "a#b", "-->", "<!--", "]]>", "??/", "a??/", "??/\n", "\\\n", "%}",
        "{{a}}", "{% a %}",
        "{#a", "%s%n", "{0.__class__}", "f'{a}'", "a;b", ";", "a);evil(", "a[0]", "a]=b;", "a{",
        "}a",
    ],
    "starts a line": [
        "a\n", "\na", "a\nimport os", "a\r", "a\r\nb", "a\x0bb", "a\x0cb", "a\x1cb", "a\x85b",
        "a\u2028b",
        "a\u2029b", "a\n#include </etc/passwd>", "a\n\n\ndef evil():", "a\n%:define b",
    ],
    "is code": [
        "__import__('os').system('x')", "eval('1')", "os.system('x')", "a=1", "a or b",
        "lambda:0",
        "a if b else c", "exec()", "a,b", "a b", "a+b", "a-b", "a.b()", "@a", "*a", "**a", "$a",
        "a$", "a?", "!a",
        "$(touch x)", "`touch x`", "|x", "&&x", ">x", "<x", "a&b", "~a", "^a", "a|b",
        "_Pragma(\"x\")",
        "__attribute__", "_a", "__a__", "_", "__class__", "__builtins__", "gw_expf", "gw_",
        "gw_a.b",
    ],
    "is a keyword": [
        *keyword.kwlist[:30], "match", "case", "int", "float", "double", "void", "struct",
        "typedef",
        "static", "restrict", "sizeof", "goto", "inline", "register", "volatile", "unsigned",
        "asm",
        "namespace", "template", "constexpr", "nullptr", "a.int", "for.b",
    ],
    "is markup": [
        "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "</title>", "</style>",
        "</svg>",
        "&lt;b&gt;", "&#x3c;", "\" onload=\"x", "' onclick='x", "javascript:x", "<![CDATA[",
        "<?xml?>",
        "<a href='x'>", "\\input{/etc/passwd}", "\\write18{x}", "$$", "a_{b}", "a^b", "%a",
        "^^5cinput",
        "\\end{document}", "\\def\\x{}", "~", "a&", "{}", "\\\\",
    ],
    "looks like another": [
        "\u0430", "x\u0430", "\uff58", "\u212b", "\u00e9", "e\u0301", "\u0131", "\u03b1",
        "\u4e2d", "a\u200b", "a\u200d",
        "a\u202eb", "\u2066a", "a\ufeff", "\u00aa", "\u2160", "\U0001d465", "\U0001f600",
        "a\u00a0b", "\u0661", "\u00b2",
        "\u017f", "\ufb01",
    ],
    "leads elsewhere": [
        "../a", "..", ".", "/etc/passwd", "a/b", "a\\b", "C:\\a", "~/a", "a/../../b", "a\x00b",
        "\x00", "con:",
        "file:///a", "http://a", ".a", "a.", "a..b", ".a.b", "...", "a. b", "a .b",
    ],
    "is none at all": [
        "", " ", "  a", "a ", "\t", "1", "1a", "9", "0x1", "1e5", "-", "a" * 64,
        "b." + "a" * 64, "a" * 10_000,
        "\x1b[31ma", "\x1b]0;a\x07", "\x08a", "\x7f", "\ud800", "a\udcff", None, 7, 1.5, b"a",
        ["a"], ("a", ), {"a": 1},
        object(), True,
    ],
}  # fmt: skip

NAMES = [name for names in KINDS.values() for name in names]
