"""Files as `torch.save` writes them, made without PyTorch."""

import io
import pickle
import zipfile


def raw(value):
    """The instructions of a pickle that make a value."""
    return pickle.dumps(value, 2)[2:-1]


def archive(files, compression=zipfile.ZIP_STORED):
    """The bytes of a zip archive with these files."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as target:
        for name, content in files.items():
            target.writestr(name, content)
    return file.getvalue()


def files_of(content):
    """The files in the bytes of a zip archive."""
    with zipfile.ZipFile(io.BytesIO(content)) as source:
        return {name: source.read(name) for name in source.namelist()}


def tensor(key, count, *, offset=0, shape, strides, kind="Float"):
    """The instructions that make a tensor in a storage of `count` numbers."""
    storage = b"(" + raw("storage") + f"ctorch\n{kind}Storage\n".encode()
    storage += raw(key) + raw("cpu") + raw(count) + b"tQ"
    view = raw(offset) + raw(shape) + raw(strides) + raw(False) + raw({})
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + view + b"tR"


def saved(arrays):
    """The bytes of a state dict of float32 arrays."""
    content, files = b"\x80\x02}", {}
    for i, (name, array) in enumerate(arrays.items()):
        strides = tuple(stride // 4 for stride in array.strides)
        content += raw(name) + tensor(str(i), array.size, shape=array.shape, strides=strides) + b"s"
        files[f"a/data/{i}"] = array.tobytes("A")
    return archive({"a/data.pkl": content + b"."} | files)
