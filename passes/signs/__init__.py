"""What fold-signs looks at: keys and the modes of their density."""
