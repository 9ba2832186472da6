"""What probabilities of attention are: measured on samples, put on a grid."""
