"""`edgeq package`: an artifact becomes one static executable with its weights inside."""
