"""Seeded multilingual lines that are hard on tokenizers."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

SCRIPTS = {
    "latin": [(0x41, 0x5A), (0x61, 0x7A)],
    "latin1": [(0xC0, 0xFF), (0x61, 0x7A)],
    "latin_ext": [(0x100, 0x24F), (0x1E00, 0x1EFF)],
    "greek": [(0x370, 0x3FF), (0x1F00, 0x1FFF)],
    "cyrillic": [(0x400, 0x52F)],
    "armenian": [(0x531, 0x58F)],
    "hebrew": [(0x591, 0x5F4)],
    "arabic": [(0x600, 0x6FF), (0xFB50, 0xFDFF)],
    "devanagari": [(0x900, 0x97F)],
    "bengali": [(0x980, 0x9FE)],
    "tamil": [(0xB82, 0xBFA)],
    "thai": [(0xE01, 0xE5B)],
    "tibetan": [(0xF00, 0xFDA)],
    "georgian": [(0x10A0, 0x10FF)],
    "khmer": [(0x1780, 0x17F9)],
    "mongolian": [(0x1800, 0x18AA)],
    "hiragana": [(0x3041, 0x309F)],
    "katakana": [(0x30A0, 0x30FF), (0xFF66, 0xFF9F)],
    "han": [(0x4E00, 0x9FFF)],
    "han_rare": [(0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F)],
    "hangul": [(0xAC00, 0xD7A3)],
    "jamo": [(0x1100, 0x11FF), (0xA960, 0xA97C), (0xD7B0, 0xD7FB)],
    "math": [(0x1D400, 0x1D7FF), (0x2100, 0x214F)],
    "wide": [(0xFF01, 0xFF5E)],
    "cherokee": [(0x13A0, 0x13FD)],
}
SPACES = " \t\n\r\f\v\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2003\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
MARKS = [
    (0x300, 0x36F),
    (0x483, 0x489),
    (0x1AB0, 0x1ACE),
    (0x1DC0, 0x1DFF),
    (0x20D0, 0x20F0),
    (0x64B, 0x65F),
    (0x5B0, 0x5C7),
    (0x302A, 0x302F),
    (0x1D165, 0x1D172),
    (0xFE20, 0xFE2F),
    (0x93C, 0x94D),
    (0xFB1E, 0xFB1E),
]
INVISIBLE = [
    (0, 0x1F),
    (0x7F, 0x9F),
    (0x200B, 0x200F),
    (0x202A, 0x202E),
    (0x2060, 0x206F),
    (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF),
    (0xE0001, 0xE007F),
    (0xFFF9, 0xFFFD),
    (0xAD, 0xAD),
]
PICTURES = [(0x1F300, 0x1F64F), (0x1F680, 0x1F6FF), (0x1F900, 0x1F9FF), (0x2600, 0x27BF), (0xA9, 0xAE)]
DIGITS = [
    (0x30, 0x39),
    (0x660, 0x669),
    (0x966, 0x96F),
    (0xFF10, 0xFF19),
    (0x2460, 0x2473),
    (0x2160, 0x216F),
    (0xB2, 0xB3),
    (0xBC, 0xBE),
    (0x1D7CE, 0x1D7FF),
    (0x3021, 0x3029),
]
PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~¡§«»¿‐–—‘’“”…‰′※、。「」！？؟।€£¥^°±×÷→∀"
SPECIALS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|im_start|",
    "<s>",
    "</s>",
    "<unk>",
    "<pad>",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "[UNK]",
    "<mask>",
    "▁",
    "▁▁",
    "##",
    "Ġ",
    "Ċ",
    "<0x0A>",
    "<0xE5>",
    "</w>",
    "<extra_id_0>",
    "<repo_name>",
    "[mask]",
    "<<s>",
    "<|new|>",
    "tok",
    "TOK",
    "Ünïcode",
)
CODE = (
    "def f(x):\n    return x**2  # note",
    "for (int i = 0; i < n; i++) {",
    "if(!a&&b||c^d){}",
    '<div class="a">&nbsp;</div>',
    "\tSELECT * FROM t WHERE a >= 1.5e-3;",
    "https://example.org/a?b=c&d=%20#e",
    '{"key": [1, 2.5, null]}',
    "a_b-c.d::e->f",
    "x = 'it''s' + \"\\n\\t\"",
    "$ ls -la | grep '^d' > /dev/null",
    "    \n\n\n    pass\n",
    "0xDEADBEEF 1_000_000 3.14e+10",
)
SUFFIXES = "'s 't 're 've 'm 'll 'd 'S 'T 'RE 'VE 'M 'LL 'D 'ſ n't ' '' ’s do not I'm".split(" ")  # noqa: SIM905
_WORDS = (
    "the of and to in is that it was for on are as with his they be at one have this from Hello world WORLD "
    "Größe naïve café straße ÉCOLE İstanbul Ǆ ﬁne ﬀ ß ẞ ς σ Σ привет мир ёж Ѐ שָׁלוֹם العربية नमस्ते क्षि "
    "สวัสดี 你好 世界 中文 こんにちは カタカナ ﾊﾝｶｸ "
    "안녕하세요 각 가 한국어 Å Å Ω K ½ ² ① ㍿ ﷺ e\u0301 n\u0303 o\u0302\u0323 q\u0307\u0323 ệ"
)
WORDS = _WORDS.split(" ")


def lines(count: int, seed: int = 20) -> Iterator[str]:
    """`count` texts, the same for the same seed; a text may hold line breaks."""
    draw = random.Random(seed)
    makers = [maker for maker, weight in _MAKERS for _ in range(weight)]
    for _ in range(count):
        parts = [draw.choice(makers)(draw) for _ in range(draw.choice((1, 1, 2, 3, 4, 6, 9)))]
        yield draw.choice(("", "", " ", "\n")).join(parts)


def _from(draw: random.Random, ranges: list[tuple[int, int]], most: int) -> str:
    low, high = draw.choice(ranges)
    return "".join(chr(draw.randint(low, high)) for _ in range(draw.randint(1, most)))


def _script(draw: random.Random) -> str:
    ranges = draw.choice(list(SCRIPTS.values()))
    return draw.choice((" ", " ", "", "-", ", ")).join(_from(draw, ranges, 8) for _ in range(draw.randint(1, 5)))


def _words(draw: random.Random) -> str:
    def one() -> str:
        word = draw.choice((str, str.upper, str.capitalize, str))(draw.choice(WORDS))
        return word + (draw.choice(SUFFIXES) if draw.random() < 0.15 else "")

    return " ".join(one() for _ in range(draw.randint(1, 9)))


def _numbers(draw: random.Random) -> str:
    return draw.choice(("", ".", ",", " ", "a")).join(_from(draw, DIGITS, 7) for _ in range(draw.randint(1, 4)))


def _spaces(draw: random.Random) -> str:
    kinds = draw.choice((" ", " ", "\n", " \n", " \t\r\n", SPACES))
    return "".join(draw.choice(kinds) for _ in range(draw.randint(1, 9)))


def _marks(draw: random.Random) -> str:
    base = draw.choice(("", "a", "e", "ǖ", "한", "가", "ק", "क", "中", "\u1100", "0", " ", "ậ", "©", "\u1161"))
    return base + "".join(_from(draw, MARKS, 3) for _ in range(draw.randint(1, 3)))


def _pictures(draw: random.Random) -> str:
    def one() -> str:
        tone = chr(draw.randint(0x1F3FB, 0x1F3FF)) if draw.random() < 0.3 else ""
        return _from(draw, PICTURES, 1) + tone + draw.choice(("", "", "\ufe0f", "\u20e3"))

    flag = "".join(chr(draw.randint(0x1F1E6, 0x1F1FF)) for _ in range(draw.randint(1, 5)))
    return draw.choice(("\u200d".join(one() for _ in range(draw.randint(1, 4))), flag, "1\ufe0f\u20e3"))


def _runs(draw: random.Random) -> str:
    unit = draw.choice(
        ("a", "A", " ", "\n", "=", "-", "ab", "  \n", "中", "é", "1", "🙂", "\u0301", "'", "aB", "▁", "!?")
    )
    return unit * draw.choice((3, 17, 60, 150))


def _anything(draw: random.Random) -> str:
    ends = (0x250, 0x3000, 0xD800, 0x30000, 0x110000)
    codes = [draw.randrange(draw.choice(ends)) for _ in range(draw.randint(1, 12))]
    return "".join(chr(code) for code in codes if not 0xD800 <= code < 0xE000)


def _punctuation(draw: random.Random) -> str:
    return "".join(draw.choice(PUNCTUATION) for _ in range(draw.randint(1, 5)))


def _single(draw: random.Random, choices: tuple[str, ...] | str) -> str:
    return draw.choice(choices)


_MAKERS: list[tuple[Callable[[random.Random], str], int]] = [
    (_words, 7),
    (_script, 8),
    (_numbers, 3),
    (_spaces, 4),
    (_marks, 3),
    (_pictures, 2),
    (_runs, 1),
    (_anything, 3),
    (lambda draw: _from(draw, INVISIBLE, 2), 2),
    (lambda draw: _single(draw, SPECIALS), 3),
    (lambda draw: _single(draw, CODE), 3),
    (_punctuation, 3),
]
