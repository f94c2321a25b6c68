"""Writes the files of `torch.save` in this folder, and `expected.json` with their numbers as PyTorch reads them.

    python crates/nb-checkpoint/tests/data/make_bin.py

Made with torch 2.11.0 (CPU). The numbers are small enough for every type to hold them exactly.
"""

import io
import json
import zipfile
from collections import OrderedDict
from pathlib import Path

import torch

FOLDER = Path(__file__).parent
FORMATS = {"zip": {}, "legacy": {"_use_new_zipfile_serialization": False}}


def numbers(*shape: int, dtype: torch.dtype = torch.float32, start: float = -2.5) -> torch.Tensor:
    count = torch.Size(shape).numel()
    return (torch.arange(count, dtype=torch.float64) / 2 + start).reshape(shape).to(dtype)


def types() -> OrderedDict:
    floats = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16, "f64": torch.float64}
    integers = {"i64": torch.int64, "i32": torch.int32, "i16": torch.int16, "i8": torch.int8}
    state = OrderedDict((name, numbers(2, 3, dtype=dtype)) for name, dtype in floats.items())
    state.update((name, torch.arange(-3, 3, dtype=dtype).reshape(3, 2)) for name, dtype in integers.items())
    state["u8"] = torch.arange(250, 256, dtype=torch.uint8)
    state["bool"] = torch.tensor([True, False, True])
    state["scalar"] = torch.tensor(1.5)
    state["empty"] = torch.zeros(0, 4)
    state._metadata = OrderedDict([("", {"version": 1}), ("layer", {"version": 2})])
    return state


def views() -> dict:
    base = numbers(4, 6)
    return {
        "base": base,
        "transposed": base.t(),
        "rows": base[1:3],
        "columns": base[:, 2:5],
        "every_other": base.flatten()[1::2],
        "expanded": base[3, :1].expand(2, 5),
        "permuted": base.reshape(2, 2, 6).permute(2, 0, 1),
        "one_row": base[2:3, :].t().t(),
    }


def tied() -> OrderedDict:
    weight = numbers(5, 2)
    return OrderedDict([("decoder.weight", weight), ("embeddings.word_embeddings.weight", weight), ("half", weight[:2])])


def parameters() -> dict:
    with_state = torch.nn.Parameter(numbers(3))
    with_state.tag = "attribute"
    tensor = numbers(2, start=4.0)
    tensor.tag = "attribute"
    frozen = torch.nn.Parameter(numbers(2, 2), requires_grad=False)
    return {"plain": torch.nn.Parameter(numbers(2, 2)), "frozen": frozen, "with_state": with_state, "tensor": tensor}


def training() -> dict:
    model = torch.nn.Linear(2, 2)
    with torch.no_grad():
        model.weight.copy_(numbers(2, 2))
        model.bias.copy_(numbers(2))
    return {
        "epoch": 3,
        "loss": 0.25,
        "best": None,
        "done": False,
        "name": "täglich",
        "raw": b"\x00\xff",
        "tags": {1, 2},
        "size": torch.Size([2, 2]),
        "device": torch.device("cpu"),
        "dtype": torch.float16,
        "large": 1 << 70,
        "state_dict": model.state_dict(),
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9).state_dict(),
    }


def untyped() -> dict:
    return {"u16": torch.tensor([0, 1, 65535], dtype=torch.uint16), "f8": numbers(2).to(torch.float8_e4m3fn)}


CASES = {"types": types, "views": views, "tied": tied, "parameters": parameters, "training": training}


def described(tensor: torch.Tensor) -> dict:
    return {"shape": list(tensor.shape), "dtype": str(tensor.dtype).removeprefix("torch."), "values": tensor.double().flatten().tolist()}


def main() -> None:
    expected = {}

    def save(name: str, state: dict, **options) -> None:
        path = FOLDER / f"{name}.bin"
        torch.save(state, path, **options)
        loaded = torch.load(path, weights_only=False)
        loaded = loaded.get("state_dict", loaded)
        expected[path.name] = {name: described(tensor.detach()) for name, tensor in sorted(loaded.items())}

    for case, make in CASES.items():
        for form, options in FORMATS.items():
            for protocol in (2, 4):
                save(f"{case}_{form}_{protocol}", make(), pickle_protocol=protocol, **options)
    save("types_zip_5", types(), pickle_protocol=5)
    save("untyped_zip_2", untyped())
    (FOLDER / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")

    module = torch.nn.Linear(1, 1)
    script = io.BytesIO()
    torch.jit.save(torch.jit.script(module), script)
    # Without its files for debugging, which name folders of the machine.
    with zipfile.ZipFile(script) as archive, zipfile.ZipFile(FOLDER / "refused_script.bin", "w") as smaller:
        for entry in archive.infolist():
            if not entry.filename.endswith(".debug_pkl"):
                smaller.writestr(entry.filename, archive.read(entry), compress_type=entry.compress_type)
    torch.save(torch.nn.Linear(1, 1), FOLDER / "refused_module.bin")
    torch.save({"x": torch.tensor([1.0]).to_sparse()}, FOLDER / "refused_sparse.bin")
    torch.save({"x": torch.complex(numbers(2), numbers(2)).conj()}, FOLDER / "refused_conjugate.bin")


if __name__ == "__main__":
    main()
