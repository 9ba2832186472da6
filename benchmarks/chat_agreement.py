"""How far artifacts of a chat model stray on chats: `python benchmarks/chat_agreement.py REFERENCE ARTIFACT...`.

The reference (an artifact of the same model at `w8a16` or `fp32`) answers eight prompts greedily; every artifact reads
the same tokens. Printed: mean divergence of next-token probabilities in nats, and the share of equal likeliest tokens.
"""

from __future__ import annotations

import sys

import numpy as np

import edgeq

ANSWER = 40  # tokens
PROMPTS = (
    "Explain photosynthesis to a child.", "What is the capital of France?", "Write a short poem about rain.",
    "How do I boil an egg?", "Why is the sky blue?", "Give me three tips to sleep better.", "What is 12 times 7?",
    "Tell me about Python lists.",
)  # fmt: skip
CHAT = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"


def main(reference: str, *others: str) -> None:
    """Print a line for each artifact."""
    model = edgeq.load(reference)
    texts = [answered(model.session, list(model.tokenizer.encode(CHAT.format(prompt)))) for prompt in PROMPTS]
    wanted = [predicted(model.session, *text) for text in texts]
    for other in others:
        found = [predicted(edgeq.load(other).session, *text) for text in texts]
        pairs = list(zip(wanted, found, strict=True))
        divergence = np.mean([(np.exp(p) * (p - q)).sum(-1).mean() for p, q in pairs])
        same = np.mean([(p.argmax(-1) == q.argmax(-1)).mean() for p, q in pairs])
        print(f"{other}: divergence {divergence:.3f} nats, same next token {same:.1%}")


def answered(session, tokens: list[int]) -> tuple[list[int], int]:
    """The prompt with its greedy answer, and where that begins."""
    session.rewind(0)
    whole, logits = list(tokens), session.logits(tokens)[-1]
    for _ in range(ANSWER):
        whole.append(int(np.argmax(logits)))
        logits = session.logits(whole[-1:])[-1]
    return whole, len(tokens)


def predicted(session, tokens: list[int], start: int) -> np.ndarray:
    """Log probabilities of the next token after each token of the answer, f64 `[ANSWER + 1, vocab]`."""
    session.rewind(0)
    logits = session.logits(tokens).astype(np.float64)[start - 1 :]
    return logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
