"""Ten things to ask."""

PROMPTS = (
    "Explain photosynthesis to a child.",
    "What is the capital of France, and what is it known for?",
    "Write a short poem about the sea.",
    "List three ways to save energy at home.",
    "Why is the sky blue?",
    "Tell me a story about a dragon who is afraid of fire.",
    "How do I cook rice?",
    "Translate 'good morning' into Spanish, French and German.",
    "What is 17 times 23? Show how you get there.",
    "Write a Python function that reverses a string.",
)
