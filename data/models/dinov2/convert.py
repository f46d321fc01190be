"""From the ONNX graph of a saliency model to a folder of transformers with its DINOv2 backbone, and the proof of it."""

import shutil
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import numpy_helper
from safetensors.torch import save_file
from transformers import Dinov2Model

HERE = Path(__file__).parent


def convert(source: Path, folder: Path) -> None:
    """The backbone in an ONNX graph of a saliency model, as a folder of transformers."""
    import torch
    from transformers import Dinov2Model

    graph = onnx.load(source).graph
    held = {i.name: i for i in graph.initializer}
    reads = {x: node for node in graph.node for x in node.input if x not in held}

    def array(key: str) -> torch.Tensor:
        return torch.from_numpy(numpy_helper.to_array(held[key]).copy())

    state = {k.removeprefix("backbone."): array(k) for k in held if k.startswith("backbone.")}
    for (
        node
    ) in graph.node:  # the weight of a product has no name of its own: the bias that is added to it has
        if node.op_type == "MatMul" and (weights := [i for i in node.input if i in held]):
            bias = next((i for i in reads[node.output[0]].input if i.startswith("backbone.")), None)
            if bias is not None:
                state[bias.removeprefix("backbone.").removesuffix("bias") + "weight"] = array(
                    weights[0]
                ).T.contiguous()
    by_shape = {tuple(i.dims): k for k, i in held.items() if not k.startswith(("backbone.", "decoder."))}
    positions = [array(by_shape[1, 1, 384]), array(by_shape[1, 1369, 384])]
    state["embeddings.position_embeddings"] = torch.cat(positions, dim=1)
    state["embeddings.mask_token"] = torch.zeros(1, 384)  # not in the graph, and never used on whole images
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    for file in ("config.json", "preprocessor_config.json"):
        shutil.copy(HERE / file, folder)
    # The names in the graph are those of an older transformers, which renames them as it reads a folder.
    Dinov2Model.from_pretrained(folder, use_safetensors=True).save_pretrained(folder)


def proof_image() -> Any:
    """The input of the proof of `dinov2`: waves of three directions, (1, 3, 224, 224), float32."""
    y, x = torch.meshgrid(torch.arange(224.0), torch.arange(224.0), indexing="ij")
    return torch.stack([torch.sin(x / 9), torch.cos(y / 7), torch.sin((x + y) / 23)])[None]


def prove(folder: Path, proof: Any) -> float:
    """Largest difference of a few entries of the final-norm output to those that onnxruntime gave for the graph."""
    with torch.no_grad():
        module: Any = Dinov2Model.from_pretrained(folder, use_safetensors=True)
        found = module.eval()(proof_image(), interpolate_pos_encoding=True).last_hidden_state[0]
    held = torch.tensor(proof["values"])
    return float((found[torch.tensor(proof["tokens"])][:, : held.shape[1]] - held).abs().max())
