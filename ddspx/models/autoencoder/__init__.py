"""The timbre autoencoder: pitch and loudness in, the sound of one instrument out."""
