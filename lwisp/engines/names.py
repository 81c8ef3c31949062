"""Names of back ends, precisions and file formats, for types and the command line; `backends` has the table."""

from typing import Literal, get_args

Name = Literal["torch", "openvino", "onnxruntime", "litert", "executorch"]
"""A back end."""
Backend = Literal["auto", "torch", "openvino", "onnxruntime"]
"""What may be asked for: a back end that runs networks of safetensors files, or the best that is installed."""
Computed = Literal["fp32", "bf16"]
"""Number format of a computation; weights and pictures are float32."""
Precision = Literal["auto", "fp32", "bf16"]
"""What may be asked for; auto: bf16 where the device has instructions for it."""
Format = Literal["onnx", "openvino", "litert", "executorch"]
"""An exported file's format."""
Stored = Literal["fp32", "fp16"]
"""Number format of an exported file's weights."""
Pixels = Literal["float32", "uint8", "uint16"]
"""Type of the values of a picture."""
PIXELS: tuple[Pixels, ...] = get_args(Pixels)
"""All of them."""
