"""Keras ResNets as their own exporters write them, with Keras' own answers. Runs where Keras is, alone:

python make.py FOLDER DIGITS.npz
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow"}

import keras
import numpy as np
import tensorflow as tf
import tf2onnx
from keras import layers
from keras.applications import imagenet_utils

MEAN, STD = 0.305, 0.376  # of the digits, as in tests/conftest.py


def main(folder: Path, digits: Path) -> None:
    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(1)
    small = trained(digits)
    with np.load(digits) as file:
        images = ((file["images"][:64].reshape(-1, 8, 8, 1) / 255.0 - MEAN) / STD).astype(np.float32)
    for opset in (11, 13, 18):
        converted(small, folder / f"digits-opset{opset}.onnx", opset)
    converted(small, folder / "digits-batch8.onnx", 15, batch=8)
    converted(small, folder / "digits-first.onnx", 15, first=True)
    small.export(folder / "digits-export.onnx", format="onnx", verbose=False)
    answered(small, folder / "digits.npz", images)
    for name in ("ResNet50", "ResNet50V2"):
        network = getattr(keras.applications, name)(weights=None, classes=3, input_shape=(64, 64, 3))
        as_if_trained(network, rng)
        answered(network, folder / f"{name}.npz", rng.normal(size=(8, 64, 64, 3)).astype(np.float32))
        if name == "ResNet50":
            network.export(folder / f"{name}.onnx", format="onnx", verbose=False)
        else:
            converted(network, folder / f"{name}.onnx", 18)
    pixels = rng.integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    caffe = imagenet_utils.preprocess_input(pixels.astype(np.float32), mode="caffe")
    np.savez(folder / "caffe.npz", pixels=pixels, normal=caffe)


def trained(digits: Path) -> keras.Model:
    """Train on the shipped digits; zero-padded shortcuts with a projection behind, as in the paper's second form."""
    with np.load(digits) as file:
        mine = ~file["evaluation"]
        images, labels = file["images"][mine].reshape(-1, 8, 8, 1), file["labels"][mine]
    image = layers.Input((8, 8, 1))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(16, 3, padding="same", use_bias=False)(image)))
    for width, step in ((16, 1), (32, 2), (64, 2)):
        x = block(x, width, step)
    network = keras.Model(image, layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling2D()(x)))
    network.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
    network.fit((images / 255.0 - MEAN) / STD, labels, batch_size=32, epochs=8, verbose=0)
    return network


def block(x: keras.KerasTensor, width: int, step: int) -> keras.KerasTensor:
    y = layers.ZeroPadding2D(1)(x)
    y = layers.Conv2D(width, 3, strides=step, use_bias=False)(y)
    y = layers.ReLU()(layers.BatchNormalization()(y))
    y = layers.BatchNormalization()(layers.Conv2D(width, 3, padding="same", use_bias=False)(y))
    if step != 1:
        x = layers.BatchNormalization()(layers.Conv2D(width, 1, strides=step, use_bias=False)(x))
    return layers.ReLU()(layers.Add()([x, y]))


def as_if_trained(network: keras.Model, rng: np.random.Generator) -> None:
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            like = layer.get_weights()[0].shape
            drawn = rng.uniform(0.7, 1.3, like), *rng.normal(0, 0.2, (2, *like)), rng.uniform(0.5, 1.5, like)
            layer.set_weights(drawn)
        elif isinstance(layer, layers.Dense):
            weights, bias = layer.get_weights()
            layer.set_weights((weights, rng.normal(0, 0.1, bias.shape)))


def converted(network: keras.Model, path: Path, opset: int, batch: int | None = None, first: bool = False) -> None:
    signature = [tf.TensorSpec((batch, *network.input_shape[1:]), tf.float32, name="images")]
    function = tf.function(lambda images: network(images, training=False), input_signature=signature)
    tf2onnx.convert.from_function(
        function, signature, opset=opset, inputs_as_nchw=["images"] if first else None, output_path=str(path)
    )


def answered(network: keras.Model, path: Path, images: np.ndarray) -> None:
    np.savez(path, images=images, probabilities=network.predict(images, verbose=0))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
