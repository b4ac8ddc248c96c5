//! ggml's graph of tensors, as far as its allocator looks at it: sizes, layouts, who needs whom.
//!
//! Weights and caches have memory of their own and do not appear; an operation that writes into a cache is a node
//! without a result ([`Graph::sink`]).

mod allocate;

/// A tensor of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Id(u32);

/// The type of a value, of which only the width matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    F16,
    F32,
    I32,
    I64,
}

impl Type {
    fn bytes(self) -> u64 {
        match self {
            Type::F16 => 2,
            Type::F32 | Type::I32 => 4,
            Type::I64 => 8,
        }
    }
}

/// How a tensor gets its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Given from outside: allocated before everything else.
    Input,
    /// Computed into memory of its own.
    Operation,
    /// Computed into the memory of a source that nobody else needs, if there is one: `ggml_op_can_inplace`.
    InPlace,
    /// Another look at the memory of this tensor.
    View(Id),
    /// Computed into memory that is not the graph's.
    Sink,
}

/// More sources than any operation here has.
const SOURCES: usize = 6;

#[derive(Debug, Clone)]
struct Tensor {
    kind: Kind,
    value: Type,
    /// Values per dimension and bytes from one to the next: ggml's `ne` and `nb`.
    ne: [u64; 4],
    nb: [u64; 4],
    sources: [Option<Id>; SOURCES],
    /// Kept after the graph was computed.
    output: bool,
}

/// A graph under construction: `ggml_cgraph`.
#[derive(Debug, Clone, Default)]
pub(super) struct Graph {
    tensors: Vec<Tensor>,
    visited: Vec<bool>,
    /// In the order in which they are computed.
    nodes: Vec<Id>,
    leafs: Vec<Id>,
}

impl Graph {
    /// A tensor that is filled in from outside.
    pub(super) fn input(&mut self, value: Type, ne: [u64; 4]) -> Id {
        self.add(Kind::Input, value, ne, strides(value, ne), &[])
    }

    /// A result in memory of its own, `f32` unless it is an index.
    pub(super) fn operation(&mut self, ne: [u64; 4], sources: &[Id]) -> Id {
        self.typed(Type::F32, ne, sources)
    }

    /// As [`Graph::operation`], of another type.
    pub(super) fn typed(&mut self, value: Type, ne: [u64; 4], sources: &[Id]) -> Id {
        self.add(Kind::Operation, value, ne, strides(value, ne), sources)
    }

    /// A result shaped as its first source, in that one's memory if nobody else needs it.
    pub(super) fn in_place(&mut self, sources: &[Id]) -> Id {
        let first = &self.tensors[sources[0].0 as usize];
        let (value, ne) = (first.value, first.ne);
        self.add(Kind::InPlace, value, ne, strides(value, ne), sources)
    }

    /// The same memory in another shape, from its start, densely.
    pub(super) fn reshape(&mut self, source: Id, ne: [u64; 4]) -> Id {
        let value = self.tensors[source.0 as usize].value;
        self.add(Kind::View(self.root(source)), value, ne, strides(value, ne), &[source])
    }

    /// A part of the same memory whose rows are as far apart as the source's.
    pub(super) fn part(&mut self, source: Id, ne: [u64; 4]) -> Id {
        let tensor = &self.tensors[source.0 as usize];
        let (value, nb) = (tensor.value, tensor.nb);
        self.add(Kind::View(self.root(source)), value, ne, nb, &[source])
    }

    /// The same memory with dimensions 1 and 2 swapped: attention's favourite.
    pub(super) fn swapped(&mut self, source: Id) -> Id {
        let tensor = &self.tensors[source.0 as usize];
        let (value, ne, nb) = (tensor.value, tensor.ne, tensor.nb);
        let swap = |of: [u64; 4]| [of[0], of[2], of[1], of[3]];
        self.add(Kind::View(self.root(source)), value, swap(ne), swap(nb), &[source])
    }

    /// Writes into memory that is not the graph's.
    pub(super) fn sink(&mut self, sources: &[Id]) -> Id {
        self.add(Kind::Sink, Type::F32, [0; 4], [0; 4], sources)
    }

    /// Keeps a result after the graph was computed: `ggml_set_output`.
    pub(super) fn keep(&mut self, tensor: Id) {
        self.tensors[tensor.0 as usize].output = true;
    }

    /// The shape of a tensor.
    pub(super) fn ne(&self, tensor: Id) -> [u64; 4] {
        self.tensors[tensor.0 as usize].ne
    }

    /// Whether its values lie one behind the other.
    pub(super) fn is_dense(&self, tensor: Id) -> bool {
        let tensor = &self.tensors[tensor.0 as usize];
        tensor.nb == strides(tensor.value, tensor.ne)
    }

    /// Computes a tensor now, after what it needs: `ggml_build_forward_expand`.
    pub(super) fn expand(&mut self, tensor: Id) {
        // Depth first without recursion: how deep a graph is, a file decides.
        let mut stack = vec![(tensor, 0_usize)];
        if std::mem::replace(&mut self.visited[tensor.0 as usize], true) {
            return;
        }
        while let Some((id, next)) = stack.pop() {
            let source = self.tensors[id.0 as usize].sources.get(next).copied().flatten();
            match source {
                Some(source) => {
                    stack.push((id, next + 1));
                    if !std::mem::replace(&mut self.visited[source.0 as usize], true) {
                        stack.push((source, 0));
                    }
                }
                None if self.tensors[id.0 as usize].kind == Kind::Input => self.leafs.push(id),
                None => self.nodes.push(id),
            }
        }
    }

    /// Bytes that ggml reserves for it.
    pub(super) fn bytes(&self) -> u64 {
        allocate::bytes(self)
    }

    fn add(&mut self, kind: Kind, value: Type, ne: [u64; 4], nb: [u64; 4], from: &[Id]) -> Id {
        let mut sources = [None; SOURCES];
        for (slot, source) in sources.iter_mut().zip(from) {
            *slot = Some(*source);
        }
        let id = Id(self.tensors.len() as u32);
        self.tensors.push(Tensor { kind, value, ne, nb, sources, output: false });
        self.visited.push(false);
        id
    }

    /// Whose memory a tensor is.
    fn root(&self, tensor: Id) -> Id {
        match self.tensors[tensor.0 as usize].kind {
            Kind::View(root) => root,
            _ => tensor,
        }
    }
}

impl Tensor {
    /// Bytes of a dense tensor.
    fn bytes(&self) -> u64 {
        self.ne.iter().fold(self.value.bytes(), |bytes, &n| bytes.saturating_mul(n))
    }
}

/// The strides of a dense tensor.
fn strides(value: Type, ne: [u64; 4]) -> [u64; 4] {
    let mut nb = [value.bytes(); 4];
    for dim in 1..4 {
        nb[dim] = nb[dim - 1].saturating_mul(ne[dim - 1]);
    }
    nb
}
