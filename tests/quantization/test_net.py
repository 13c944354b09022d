"""Layers that share a constant in the file share weights alone once they are worked on, if they use them alike."""

from __future__ import annotations

import onnx
import pytest

from edgeresnet.errors import ModelError
from edgeresnet.quantization import qdq
from edgeresnet.quantization.net import Net, unshare
from edgeresnet.quantization.placement import label
from edgeresnet.quantization.torch_net import TorchNet

from ..graph.running import answers, sqnr
from .nets import TENSORRT, Maker, equalize, images, plain, scaled


def shared() -> onnx.ModelProto:
    """Two layers have the same weights, and three the same bias."""
    net = Maker()
    x = net.relu(net.conv("image", "c1", 8))
    x = net.relu(net.conv(x, "c2", 8))
    net.nodes[-2].input[2] = "c1.bias"
    again = net.add("Conv", [x, "c2.weight", "c1.bias"], "again", pads=[1] * 4, kernel_shape=[3, 3])
    return net.head(net.relu(again))


def test_layers_share_weights_that_they_use_alike_and_can_be_equalized_and_written_then() -> None:
    model = shared()
    unshare(model)
    onnx.checker.check_model(model, full_check=True)
    assert (answers(model, images()) == answers(shared(), images())).all()
    layers = Net(model).weighted()
    assert [layer.inputs[1] for layer in layers] == ["c1.weight", "c2.weight", "c2.weight", "fc.weight"]
    assert len({layer.inputs[2] for layer in layers}) == len(layers)
    equalized = equalize(model, images(), 0)
    assert equalized is not None
    assert sqnr(answers(shared(), images()), answers(equalized, images())) > 100
    file = qdq.write(model, *scaled(model, TENSORRT))
    onnx.checker.check_model(file, full_check=True)
    assert sqnr(answers(shared(), images()), answers(file, images())) > 15


def test_layers_can_get_weights_of_their_own_too() -> None:
    model = shared()
    unshare(model, alike=True)
    layers = Net(model).weighted()
    for slot in (1, 2):
        assert len({layer.inputs[slot] for layer in layers}) == len(layers)
    assert [label(layer) for layer in layers] == ["c1", "c2", "again", "fc"]


def test_weights_that_layers_use_otherwise_are_not_shared() -> None:
    net = Maker()
    x = net.relu(net.conv("image", "c1", 8))
    one = net.conv(x, "one", 8, group=2)
    other = net.again(net.conv(x, "thin", 4), "one", "other")
    next(each for each in net.nodes[-1].attribute if each.name == "group").i = 1
    model = net.head(net.relu(net.plus(one, other, "sum")))
    unshare(model)
    assert len(Net(model).sharing) == len(Net(model).weighted())
    assert (answers(model, images()) == answers(net.model(16), images())).all()


def test_a_network_that_shares_nothing_stays_as_it_is() -> None:
    model = plain()
    unshare(model)
    assert model.SerializeToString() == plain().SerializeToString()


def padded(word: str) -> onnx.ModelProto:
    model = plain()
    model.graph.node[0].attribute.append(onnx.helper.make_attribute("auto_pad", word))
    return model


def test_padding_without_numbers_is_not_taken_for_none() -> None:
    TorchNet(Net(padded("NOTSET")))
    with pytest.raises(ModelError, match="c1_out's padding cannot be refined"):
        TorchNet(Net(padded("SAME_UPPER")))
