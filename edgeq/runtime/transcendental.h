/* What kernels call lane by lane because no instruction does it: float to float, the same bits everywhere. */
#ifndef EDGEQ_TRANSCENDENTAL_H
#define EDGEQ_TRANSCENDENTAL_H

float edgeq_log(float x);
float edgeq_log2(float x);
float edgeq_log10(float x);
float edgeq_pow(float x, float y);
float edgeq_sin(float x);
float edgeq_cos(float x);
float edgeq_tan(float x);

#endif
