"""What a packaged program can be, by what its model is for, and the C files that it takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeq.errors import UnsupportedError

APP = Path(__file__).resolve().parent / "app"
IMAGE = APP.parent / "image"
_EVERY = ("main", "sections", "options", "facts", "say", "info", "bench", "buffer")
_TEXT = ("utf8", "tokens")


@dataclass(frozen=True)
class Program:
    """A kind of program.

    Attributes:
        run: the C function that does the work (app.h). files: of `app/`, beside those that all have.
        reads: "text" (then a tokenizer goes in) or "image". example: what follows the program's name.
    """

    run: str
    files: tuple[str, ...]
    reads: str
    example: str

    @property
    def sources(self) -> list[Path]:
        """Its C files but for the tokenizer's."""
        files = [APP / f"{name}.c" for name in (*_EVERY, *self.files)]
        return files + (sorted(IMAGE.glob("*.c")) if self.reads == "image" else [])

    @property
    def include(self) -> list[Path]:
        """Folders of the headers."""
        return [APP, IMAGE]


_CHAT = ("chat", "answer", "stream", "conversation", "stop")
PROGRAMS = {
    "chat": Program("edgeq_app_chat", (*_TEXT, *_CHAT), "text", '"Explain rain to a child."'),
    "embedding": Program("edgeq_app_embed", (*_TEXT, "texts", "embed"), "text", '--similarity "a cat" "a kitten"'),
    "text-classification": Program(
        "edgeq_app_classify_text", (*_TEXT, "texts", "scores", "classify_text"), "text", '"what a film"'
    ),
    "image-classification": Program("edgeq_app_classify_image", ("scores",), "image", "photo.jpg"),
    "segmentation": Program("edgeq_app_segment", (), "image", "photo.jpg --point 310,220 -o mask.png"),
}


def program_of(kind: str, refused: str | None) -> Program:
    """The program for a kind of model.

    Args:
        kind: `task.kind` of edgeq.json. refused: why its texts or photos cannot be prepared, None when they can.

    Raises:
        UnsupportedError: no program does this.
    """
    if kind not in PROGRAMS:
        raise UnsupportedError(
            f"no packaged program is known for {kind} models (there are: {', '.join(PROGRAMS)}); "
            "use `edgeq run`, or the C API (docs/c-api.md)"
        )
    if refused:
        raise UnsupportedError(f"its {PROGRAMS[kind].reads}s cannot be prepared: {refused}")
    return PROGRAMS[kind]
