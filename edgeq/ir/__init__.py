"""The closed dialect: ops, verifier, text form, reference semantics."""
