"""The local page: timbre transfer in a browser, on this machine alone (extra `app`)."""

from ddspx.app._serve import serve as serve
