"""Flax NNX modules: a class exists only where it owns a Variable."""
