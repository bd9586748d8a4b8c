"""The models of the zoo: what people run on CPUs, with random weights and one input each. They need torchvision and
transformers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

Made = tuple[nn.Module, tuple[Tensor, ...]]


def vision(name: str) -> Made:
    """A model of torchvision; input [1, 3, 224, 224]."""
    import torchvision.models

    model = getattr(torchvision.models, name)(weights=None)
    for parameter in model.parameters():
        if parameter.dim() > 1 and not parameter.any():  # of ViT's last layer: outputs of 0 would say nothing
            nn.init.normal_(parameter, std=0.02)
    return model, (torch.randn(1, 3, 224, 224),)


class Named(nn.Module):
    """The entry of a result that is a dict."""

    def __init__(self, module: nn.Module, name: str) -> None:
        super().__init__()
        self.module, self.name = module, name

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x)[self.name]


def lraspp() -> Made:
    """Segmentation, with dilated convolutions; input [1, 3, 224, 224]."""
    import torchvision.models.segmentation as segmentation

    module = segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None)
    return Named(module, "out"), (torch.randn(1, 3, 224, 224),)


class Unet(nn.Module):
    """Three levels of 16, 32 and 64 channels, joined by skips."""

    def __init__(self) -> None:
        super().__init__()

        def block(before: int, after: int) -> nn.Module:
            layers = []
            for channels in (before, after):
                layers += [nn.Conv2d(channels, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
            return nn.Sequential(*layers)

        self.down1, self.down2, self.bottom = block(3, 16), block(16, 32), block(32, 64)
        self.widen2, self.widen1 = nn.ConvTranspose2d(64, 32, 2, stride=2), nn.ConvTranspose2d(32, 16, 2, stride=2)
        self.up2, self.up1, self.last = block(64, 32), block(32, 16), nn.Conv2d(16, 2, 1)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        first = self.down1(x)
        second = self.down2(self.pool(first))
        x = self.bottom(self.pool(second))
        x = self.up2(torch.cat([self.widen2(x), second], 1))
        return self.last(self.up1(torch.cat([self.widen1(x), first], 1)))


class Temporal(nn.Module):
    """Causal convolutions over time whose reach doubles, as for signals and prices."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for level in range(5):
            reach = 2 * 2**level
            convolution = nn.Conv1d(16 if level else 8, 16, 3, dilation=2**level)
            layers += [nn.ConstantPad1d((reach, 0), 0.0), convolution, nn.ReLU()]
        self.layers, self.last = nn.Sequential(*layers), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.layers(x)[:, :, -1])


class Last(nn.Module):
    """A recurrent network's output at the last step, and a linear layer."""

    def __init__(self, network: nn.Module, hidden: int) -> None:
        super().__init__()
        self.network, self.last = network, nn.Linear(hidden, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.network(x)[0][:, -1])


class Recommender(nn.Module):
    """Sums of rows of eight tables, and two small networks."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.EmbeddingBag(10_000, 16, mode="sum") for _ in range(8))
        self.dense = nn.Sequential(nn.Linear(13, 64), nn.ReLU(), nn.Linear(64, 16), nn.ReLU())
        self.top = nn.Sequential(nn.Linear(9 * 16, 64), nn.ReLU(), nn.Linear(64, 1), nn.Sigmoid())

    def forward(self, numbers: Tensor, ids: Tensor) -> Tensor:
        return self.top(torch.cat([self.dense(numbers), *(table(ids[:, i]) for i, table in enumerate(self.tables))], 1))


class Hidden(nn.Module):
    """A model of transformers from token ids to the last hidden state."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        module.config.use_cache = False
        module.set_attn_implementation("sdpa")
        self.module = module

    def forward(self, ids: Tensor) -> Tensor:
        return self.module(input_ids=ids, use_cache=False).last_hidden_state


def text(kind: str, tokens: int, **sizes: int) -> Made:
    """A model of transformers; input [1, tokens]."""
    import transformers

    config = getattr(transformers, f"{kind}Config")(vocab_size=1000, **sizes)
    return Hidden(getattr(transformers, f"{kind}Model")(config)), (torch.randint(1000, (1, tokens)),)


SMALL = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024}
MODELS: dict[str, Callable[[], Made]] = {
    "resnet18": lambda: vision("resnet18"),
    "mobilenet_v3": lambda: vision("mobilenet_v3_small"),
    "efficientnet": lambda: vision("efficientnet_b0"),
    "vit": lambda: vision("vit_b_16"),
    "swin": lambda: vision("swin_t"),
    "convnext": lambda: vision("convnext_tiny"),
    "lraspp": lraspp,
    "unet": lambda: (Unet(), (torch.randn(1, 3, 128, 128),)),
    "temporal": lambda: (Temporal(), (torch.randn(1, 8, 128),)),
    "lstm": lambda: (Last(nn.LSTM(32, 64, num_layers=2, batch_first=True), 64), (torch.randn(1, 64, 32),)),
    "gru": lambda: (Last(nn.GRU(16, 32, batch_first=True), 32), (torch.randn(1, 16, 16),)),
    "recommender": lambda: (Recommender(), (torch.randn(32, 13), torch.randint(10_000, (32, 8, 4)))),
    "bert": lambda: text("Bert", 48, **SMALL),
    "gpt2": lambda: text("GPT2", 48, n_embd=256, n_layer=4, n_head=4),
    "llama": lambda: text("Llama", 32, **SMALL, num_key_value_heads=2),
    "minilm": lambda: text("Bert", 64, hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536),
}


def make(name: str) -> Made:
    """The module and its inputs, always the same."""
    torch.manual_seed(0)
    module, args = MODELS[name]()
    return module.eval(), args
