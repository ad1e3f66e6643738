"""The rules: frozen values and pure functions; (state, input, now) in, new state out."""
