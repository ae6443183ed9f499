"""Serves a verified bundle over HTTP with onnxruntime. The server's process never imports torch.

`serve` is in `running`. FastAPI, uvicorn and prometheus_client are imported only in this package, which needs the extra
`regplug[serve]`.
"""
