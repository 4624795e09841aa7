"""A model behind FastAPI as it is commonly written: the tutorials' way, with the defaults of everything.

    common.py PORT MODEL KEY
"""

import secrets
import sys

import numpy as np
import onnxruntime
import uvicorn
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import APIKeyHeader
from pydantic import BaseModel

PORT, MODEL, KEY = sys.argv[1:]

app = FastAPI()
session = onnxruntime.InferenceSession(MODEL)
key_header = APIKeyHeader(name="X-API-Key")


class Features(BaseModel):
    inputs: list[list[float]]


class Prediction(BaseModel):
    labels: list[int]
    probabilities: list[list[float]]


def check_key(key: str = Depends(key_header)):
    if not secrets.compare_digest(key, KEY):
        raise HTTPException(status_code=403, detail="Invalid API key")


@app.post("/predict", dependencies=[Depends(check_key)])
def predict(features: Features) -> Prediction:
    rows = np.array(features.inputs, dtype=np.float32)
    labels, probabilities = session.run(None, {session.get_inputs()[0].name: rows})
    return Prediction(labels=labels.tolist(), probabilities=probabilities.tolist())


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(PORT))
