"""Models, one folder each."""

from ddspx.models import autoencoder as autoencoder, crepe as crepe, spectnet as spectnet
