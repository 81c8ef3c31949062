"""LW-ISP as ONNX for exported files, by torch's newer exporter."""

from typing import Any

import torch

from lwisp.architecture import SIZE_MULTIPLE
from lwisp.engines.contract import Size
from lwisp.engines.names import Stored
from lwisp.engines.portable import example, portable
from lwisp.files.optional import import_dynamo
from lwisp.files.writing import quiet
from lwisp.model import LWISP

OPSET = 20


def onnx_model(network: LWISP, precision: Stored, size: Size) -> Any:
    """The network as an `onnx.ModelProto` without metadata; the same weights give the same bytes.

    Args:
        network: LW-ISP.
        precision: What the file computes in; its input and output are float32.
        size: Of the planes, or None for any multiples of 16 from 32 up.

    Returns:
        A model of input "planes" and output "rgb".
    """
    module = portable(network, slices=size is not None)  # compilers for one size know few operations
    if precision == "fp16":
        module = module.half()
    free = None if size else ({2: SIZE_MULTIPLE * torch.export.Dim("h"), 3: SIZE_MULTIPLE * torch.export.Dim("w")},)
    import_dynamo()
    with quiet():
        program = torch.onnx.export(
            module,
            (example(network, size),),
            dynamo=True,
            dynamic_shapes=free,
            input_names=["planes"],
            output_names=["rgb"],
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    del model.metadata_props[:], model.graph.value_info[:]  # shapes follow from the input's
    for part in (*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del part.metadata_props[:]  # where in the source each comes from
        part.doc_string = ""
    if size is None:
        for dim, letter in zip(model.graph.output[0].type.tensor_type.shape.dim[2:], "hw", strict=True):
            dim.dim_param = f"{SIZE_MULTIPLE * network.config.scale}*{letter}"
    return model
