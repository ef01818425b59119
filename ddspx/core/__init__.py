"""The functional core: pure functions on JAX arrays, safe under jit, vmap and grad."""
