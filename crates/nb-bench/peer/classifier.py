"""The model of a folder in PyTorch, and its export to ONNX."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModel

from common import Job
from models import INPUTS, OUTPUTS, Answer, Batch, Variant


class Classifier(nn.Module):
    """The model of a folder: encoder, attentive pooling, dense layer."""

    def __init__(self, folder: Path, attention: str) -> None:
        super().__init__()
        self.bert = AutoModel.from_pretrained(
            folder, add_pooling_layer=False, dtype=torch.float32, attn_implementation=attention
        )
        head = load_file(folder / "head.safetensors")
        self.proj = linear(head["pooling.proj.weight"], head["pooling.proj.bias"])
        self.query = linear(head["pooling.query.weight"], None)
        self.dense = linear(head["dense.weight"], head["dense.bias"])

    def forward(self, ids: Tensor, segments: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        states = self.bert(input_ids=ids, token_type_ids=segments, attention_mask=mask).last_hidden_state
        scores = self.query(torch.tanh(self.proj(states))).squeeze(-1).masked_fill(mask == 0, float("-inf"))
        pooled = (torch.softmax(scores, -1).unsqueeze(-1) * states).sum(1)
        return torch.softmax(self.dense(pooled).float(), -1), pooled.float()


def linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.load_state_dict({"weight": weight} | ({} if bias is None else {"bias": bias}))
    return layer


class TorchModel:
    """Hugging Face's `BertModel`. Its batches run one after the other, each on all threads."""

    def __init__(self, classifier: nn.Module, device: torch.device, autocast: bool) -> None:
        self.classifier = classifier
        self.device = device
        self.autocast = autocast

    def single(self, batch: Batch) -> Answer:
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            probabilities, vectors = self.classifier(*(torch.from_numpy(array).to(self.device) for array in batch))
        return probabilities.cpu().numpy(), vectors.cpu().numpy()

    def bulk(self, batches: list[Batch]) -> list[Answer]:
        return [self.single(batch) for batch in batches]


def torch_variants(job: Job, mode: str, precision: str) -> list[Variant]:
    """Bf16 is tried with weights in bf16 and with autocast; a compiled model, which takes minutes, only with the former."""
    torch.set_num_threads(job["threads"])
    device = torch.device(job["device"])

    def variant(name: str, kind: torch.dtype, autocast: bool) -> Variant:
        def open_model() -> TorchModel:
            classifier = Classifier(Path(job["model"]), "sdpa").eval().to(device, kind)
            module = torch.compile(classifier, dynamic=True) if mode == "torch-compile" else classifier
            return TorchModel(module, device, autocast)

        return Variant(name, open_model)

    if precision == "f32":
        return [variant("", torch.float32, False)]
    weights = variant("weights in bf16", torch.bfloat16, False)
    return [weights] if mode == "torch-compile" else [weights, variant("autocast", torch.float32, True)]


def export(folder: Path, path: Path) -> None:
    """Exports the model to ONNX for any number of texts of any length."""
    classifier = Classifier(folder, "eager").eval()
    example = tuple(torch.ones((2, 9), dtype=torch.long) for _ in INPUTS)
    axes = {name: {0: "texts", 1: "tokens"} for name in INPUTS} | {name: {0: "texts"} for name in OUTPUTS}
    with torch.no_grad():
        torch.onnx.export(
            classifier,
            example,
            str(path),
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            dynamic_axes=axes,
            opset_version=17,
            # onnxruntime's optimiser finds attention and embeddings only in the graphs of the older exporter.
            dynamo=False,
        )
