"""Glue: clusters of ATen ops without a kernel of ours, through TVM's importer and TOPI, as ordinary plan kernels."""
