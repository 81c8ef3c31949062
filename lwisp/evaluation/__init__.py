"""How good, beside whom, how fast: protocols, scores, other tools, benchmarks."""
