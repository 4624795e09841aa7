"""The same model behind FastAPI by somebody who knows what costs time there: two processes, uvloop and httptools, no access
log, no models of pydantic, orjson on the bytes, no thread pool, a session that does not spin.

    tuned.py PORT MODEL KEY
"""

import os
import sys

import numpy as np
import onnxruntime
import orjson
import uvicorn
from fastapi import FastAPI, Request, Response

WORKERS = 2

if __name__ == "__main__":
    # The worker processes import this file anew and are told by the environment.
    port, os.environ["RIVAL_MODEL"], os.environ["RIVAL_KEY"] = sys.argv[1:]
else:
    KEY = os.environ["RIVAL_KEY"]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(os.environ["RIVAL_MODEL"], options, providers=["CPUExecutionProvider"])
    run = session.run
    INPUT = session.get_inputs()[0].name
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    @app.post("/predict")
    async def predict(request: Request):
        if request.headers.get("x-api-key") != KEY:
            return Response(b'{"detail":"Invalid API key"}', 403, media_type="application/json")
        rows = np.array(orjson.loads(await request.body())["inputs"], dtype=np.float32)
        labels, probabilities = run(None, {INPUT: rows})
        answer = {"labels": labels, "probabilities": probabilities}
        return Response(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")


if __name__ == "__main__":
    uvicorn.run(
        "tuned:app",
        host="127.0.0.1",
        port=int(port),
        workers=WORKERS,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )
