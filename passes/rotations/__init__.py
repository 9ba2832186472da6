"""What rotate is made of: the residual stream, its basis, heads, products at run time."""
