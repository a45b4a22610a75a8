//! What a pickle stands for: values in a table that point to each other by number, and the only names that it may
//! use. What the values mean as tensors is decided by `torch_file.rs`.

/// A value in the machine's table.
pub(in crate::files) type Id = u32;

/// A name that a pickle may use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::files) enum Known {
    /// `collections.OrderedDict`.
    OrderedDict,
    /// `torch._utils._rebuild_tensor` and `_v2`: storage, offset, shape, strides.
    RebuildTensor,
    /// `torch._utils._rebuild_parameter`: a tensor, whether it needs a gradient, hooks.
    RebuildParameter,
    /// `torch.Size`: a tuple.
    Size,
    /// A type of storage.
    Storage(safetensors::Dtype),
}

/// The name's meaning, if it has one here.
pub(super) fn known(module: &str, name: &str) -> Option<Known> {
    use safetensors::Dtype;
    Some(match (module, name) {
        ("collections", "OrderedDict") => Known::OrderedDict,
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Known::RebuildTensor,
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Known::RebuildParameter,
        ("torch", "Size") => Known::Size,
        ("torch" | "torch.cuda", name) => Known::Storage(match name {
            "FloatStorage" => Dtype::F32,
            "HalfStorage" => Dtype::F16,
            "BFloat16Storage" => Dtype::BF16,
            "DoubleStorage" => Dtype::F64,
            "LongStorage" => Dtype::I64,
            "IntStorage" => Dtype::I32,
            "ShortStorage" => Dtype::I16,
            "CharStorage" => Dtype::I8,
            "ByteStorage" => Dtype::U8,
            "BoolStorage" => Dtype::BOOL,
            _ => return None,
        }),
        _ => return None,
    })
}

/// What a value is.
#[derive(Debug)]
pub(in crate::files) enum Node {
    None,
    Bool(bool),
    Int(i64),
    Float,
    Text(String),
    Bytes,
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Name(Known),
    /// What a persistent id stands for: the id's value.
    Persistent(Id),
    /// `_rebuild_tensor`'s arguments, the storage first.
    Tensor(Vec<Id>),
}

/// A pickle that has been read.
#[derive(Debug)]
pub(in crate::files) struct Pickle {
    pub(super) nodes: Vec<Node>,
    /// The value that it stands for.
    pub(in crate::files) root: Id,
    /// How many bytes it took.
    pub(in crate::files) length: usize,
}

impl Pickle {
    pub(in crate::files) fn node(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }

    /// What every persistent id stands for.
    pub(in crate::files) fn persistent(&self) -> impl Iterator<Item = Id> {
        self.nodes.iter().filter_map(|node| if let Node::Persistent(id) = node { Some(*id) } else { None })
    }

    pub(in crate::files) fn text(&self, id: Id) -> Option<&str> {
        if let Node::Text(text) = self.node(id) { Some(text) } else { None }
    }

    pub(in crate::files) fn int(&self, id: Id) -> Option<i64> {
        if let Node::Int(value) = self.node(id) { Some(*value) } else { None }
    }

    /// The elements of a tuple or a list.
    pub(in crate::files) fn items(&self, id: Id) -> Option<&[Id]> {
        if let Node::Tuple(items) | Node::List(items) = self.node(id) { Some(items) } else { None }
    }

    pub(in crate::files) fn dict(&self, id: Id) -> Option<&[(Id, Id)]> {
        if let Node::Dict(items) = self.node(id) { Some(items) } else { None }
    }
}
