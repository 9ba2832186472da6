"""What a packaged program can be, by what its model is for, and the C files that it takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeq.errors import UnsupportedError
from edgeq.package import image

APP = Path(__file__).resolve().parent / "app"
_EVERY = ("main", "sections", "options", "facts", "say", "info", "bench", "buffer")
_TEXT = ("utf8", "tokens")


@dataclass(frozen=True)
class Program:
    """A kind of program.

    Attributes:
        run: the C function that does the work (app.h). files: of `app/`, beside those that all have.
        reads: "text" (then a tokenizer goes in) or "image". example: what follows the program's name.
        image: of `image/`, beside what all programs over photos share.
    """

    run: str
    files: tuple[str, ...]
    reads: str
    example: str
    image: tuple[str, ...] = ()

    @property
    def sources(self) -> list[Path]:
        """Its C files but for the tokenizer's."""
        files = [APP / f"{name}.c" for name in (*_EVERY, *self.files)]
        return files + (list(image.sources(*self.image)) if self.reads == "image" else [])

    @property
    def include(self) -> list[Path]:
        """Folders of the headers."""
        return [APP, image.INCLUDE]


_CHAT = ("chat", "answer", "stream", "conversation", "stop")
PROGRAMS = {
    "chat": Program("edgeq_app_chat", (*_TEXT, *_CHAT), "text", '"Explain rain to a child."'),
    "embedding": Program("edgeq_app_embed", (*_TEXT, "texts", "embed"), "text", '--similarity "a cat" "a kitten"'),
    "text-classification": Program(
        "edgeq_app_classify_text", (*_TEXT, "texts", "scores", "classify_text"), "text", '"what a film"'
    ),
    "image-classification": Program("edgeq_app_classify_image", ("scores",), "image", "photo.jpg", ("classify",)),
    "image-features": Program("edgeq_app_embed_image", (), "image", "photo.jpg", ("features",)),
    "detection": Program("edgeq_app_detect", ("scores",), "image", "photo.jpg", ("detect",)),
    "segmentation": Program(
        "edgeq_app_segment", (), "image", "photo.jpg --point 310,220 -o mask.png", ("segment", "points")
    ),
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
