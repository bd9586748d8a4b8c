"""Trains a small network on scikit-learn's handwritten digits and compiles it: train.py OUT_DIR

Of the 1,797 images of 8 x 8 pixels, 1,437 train the network and 360 are held out. Writes these files; if they
exist and are newer than this script and the exporter, it only measures eager PyTorch again:

    digits.pth    the trained weights
    digits.pt2    the model: float32 [batch, 1, 8, 8] with pixels from 0 to 1, batch from 1 to 1024, in;
                  float32 [batch, 10], one score per digit, out; it calls no operator, and runs without libtorch
    digits.bin    the held-out images, little-endian: uint32 count; count images of 64 float32, row by row;
                  count uint8 labels; count uint8 predictions of eager PyTorch
    digits.json   {"torch_accuracy": from 0 to 1, "count": held-out images,
                   "eager_ns_per_image": {"1": at batch 1, "64": at batch 64}, "torch": its version}
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import statistics
import struct
import sys
import time
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.export import Dim

PYTHON = Path(__file__).resolve().parents[2] / "python"
sys.path.insert(0, str(PYTHON))

import aoti  # noqa: E402
from aoti import Model  # noqa: E402


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def up_to_date(out: Path) -> bool:
    """digits.json is written last: if it exists, the others are complete."""
    if not all((out / name).exists() for name in ("digits.pth", "digits.pt2", "digits.bin", "digits.json")):
        return False
    report = out / "digits.json"
    sources = (Path(__file__), PYTHON / "aoti" / "_export.py")
    if report.stat().st_mtime < max(source.stat().st_mtime for source in sources):
        return False
    return json.loads(report.read_text())["torch"] == importlib.metadata.version("torch")


TRAIN_COUNT = 1437
EPOCHS = 20


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(32 * 4 * 4, 10),
    )


class ConvolutionAsProduct(nn.Module):
    """A convolution as a matrix product, for which Inductor can generate code; for convolutions it calls torch's."""

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        self.size, self.padding, self.bias = layer.kernel_size, layer.padding, layer.bias
        self.weight = nn.Parameter(layer.weight.permute(0, 2, 3, 1).flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        (height, width), (above, left) = self.size, self.padding
        x = nn.functional.pad(x.permute(0, 2, 3, 1), (0, 0, left, left, above, above))
        rows, columns = x.shape[1] - height + 1, x.shape[2] - width + 1
        shifted = [x[:, i : i + rows, j : j + columns] for i in range(height) for j in range(width)]
        return nn.functional.linear(torch.cat(shifted, 3), self.weight, self.bias).permute(0, 3, 1, 2)


def load() -> tuple[Tensor, Tensor]:
    """All images [1797, 1, 8, 8] with pixels from 0 to 1 and their labels [1797], in a fixed random order."""
    digits = load_digits()
    order = torch.randperm(len(digits.target), generator=torch.Generator().manual_seed(0))
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    return images[order].contiguous(), torch.tensor(digits.target)[order]


def train(images: Tensor, labels: Tensor) -> nn.Module:
    torch.manual_seed(0)
    model = network().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for epoch in range(1, EPOCHS + 1):
        loss_sum, right = 0.0, 0
        for batch in torch.randperm(len(images)).split(64):
            scores = model(images[batch])
            loss = nn.functional.cross_entropy(scores, labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss_sum += loss.item() * len(batch)
            right += int((scores.argmax(1) == labels[batch]).sum())
        schedule.step()
        say(f"epoch {epoch:2}/{EPOCHS}  loss {loss_sum / len(images):.4f}  accuracy {right / len(images):.2%}")
    return model.eval()


def ns_per_image(model: nn.Module, images: Tensor, rounds: int = 15) -> float:
    """The median of several rounds of at least 20 ms each, after a warm-up of one round."""
    calls, times = 1, []
    with torch.inference_mode():
        while True:
            start = time.perf_counter_ns()
            for _ in range(calls):
                model(images)
            elapsed = time.perf_counter_ns() - start
            if elapsed >= 20_000_000:
                break
            calls *= 2
        for _ in range(rounds):
            start = time.perf_counter_ns()
            for _ in range(calls):
                model(images)
            times.append((time.perf_counter_ns() - start) / calls / len(images))
    return statistics.median(times)


def make(out: Path, images: Tensor, labels: Tensor) -> None:
    """Trains on the first TRAIN_COUNT images, compiles, and writes all files except the measurements."""
    model = train(images[:TRAIN_COUNT], labels[:TRAIN_COUNT])
    images, labels = images[TRAIN_COUNT:], labels[TRAIN_COUNT:]
    with torch.inference_mode():
        predictions = model(images).argmax(1)
    accuracy = float((predictions == labels).float().mean())
    say(f"held-out accuracy {accuracy:.2%} ({len(images)} images)")
    torch.save(model.state_dict(), out / "digits.pth")

    say("compiling…")
    start = time.monotonic()
    layers = (ConvolutionAsProduct(layer) if isinstance(layer, nn.Conv2d) else layer for layer in model)
    shapes = {"input": {0: Dim("batch", min=1, max=1024)}}
    options = {"max_autotune": True, "max_autotune_gemm_backends": "CPP"}
    aoti.export(
        out / "digits.pt2",
        Model(nn.Sequential(*layers).eval(), (images[:4],), dynamic_shapes=shapes, options=options),
    )
    say(f"compiled in {time.monotonic() - start:.0f} s")

    (out / "digits.bin").write_bytes(
        struct.pack("<I", len(images))
        + images.numpy().astype("<f4").tobytes()
        + labels.numpy().astype("u1").tobytes()
        + predictions.numpy().astype("u1").tobytes()
    )
    report = {"torch_accuracy": accuracy, "count": len(images), "torch": importlib.metadata.version("torch")}
    (out / "digits.json").write_text(json.dumps(report, indent=2) + "\n")


def main(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # says that there is no GPU

    # Inductor writes the number of threads into the kernels it generates. For 64 pixels, waking a second
    # thread takes longer than the work; eager PyTorch is measured with one thread too.
    torch.set_num_threads(1)

    images, labels = load()
    if up_to_date(out):
        say(f"{out / 'digits.pt2'} is up to date")
    else:
        (out / "digits.json").unlink(missing_ok=True)
        make(out, images, labels)

    say("measuring eager PyTorch…")
    model = network().eval()
    model.load_state_dict(torch.load(out / "digits.pth"))
    report = json.loads((out / "digits.json").read_text())
    held_out = images[TRAIN_COUNT:]
    report["eager_ns_per_image"] = {str(size): ns_per_image(model, held_out[:size]) for size in (1, 64)}
    (out / "digits.json").write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: train.py OUT_DIR")
    main(Path(sys.argv[1]))
