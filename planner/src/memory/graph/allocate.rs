//! What ggml's graph allocator would reserve: `ggml_gallocr_alloc_graph_impl` and `ggml_dyn_tallocr` in
//! ggml/src/ggml-alloc.c, for one buffer.

use super::{Graph, Id, Kind};
use crate::memory::kv::ALIGNMENT;

/// Bytes of the buffer.
pub(super) fn bytes(graph: &Graph) -> u64 {
    let mut allocator = Allocator {
        graph,
        states: vec![State::default(); graph.tensors.len()],
        free: vec![Block { offset: 0, size: u64::MAX / 2 }],
        most: 0,
    };
    allocator.run();
    allocator.most
}

/// What is known of a tensor while the graph is walked: `struct hash_node`.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    children: u32,
    views: u32,
    offset: u64,
    allocated: bool,
}

#[derive(Debug, Clone, Copy)]
struct Block {
    offset: u64,
    size: u64,
}

struct Allocator<'a> {
    graph: &'a Graph,
    states: Vec<State>,
    /// Free memory, by offset. The last block has no end.
    free: Vec<Block>,
    /// The highest byte in use so far.
    most: u64,
}

impl Allocator<'_> {
    fn run(&mut self) {
        let graph = self.graph;
        for &leaf in &graph.leafs {
            self.allocate(leaf);
        }
        for &node in &graph.nodes {
            let tensor = &graph.tensors[node.0 as usize];
            if let Kind::View(root) = tensor.kind {
                self.state(root).views += 1;
            }
            for source in tensor.sources.iter().flatten() {
                self.state(*source).children += 1;
            }
        }
        for &node in &graph.nodes {
            self.allocate(node);
            for &source in graph.tensors[node.0 as usize].sources.iter().flatten() {
                self.release(source);
            }
        }
    }

    fn state(&mut self, tensor: Id) -> &mut State {
        &mut self.states[tensor.0 as usize]
    }

    fn allocate(&mut self, id: Id) {
        let tensor = &self.graph.tensors[id.0 as usize];
        if self.state(id).allocated || matches!(tensor.kind, Kind::View(_) | Kind::Sink) {
            return;
        }
        self.state(id).allocated = true;
        if tensor.kind == Kind::InPlace {
            for &source in tensor.sources.iter().flatten() {
                let parent = &self.graph.tensors[source.0 as usize];
                let state = *self.state(source);
                let same = parent.value == tensor.value && parent.ne == tensor.ne && parent.nb == tensor.nb;
                // A view is never its own memory, so that it is not taken over (`ggml_gallocr_is_own`).
                if state.allocated && !parent.output && same && state.children == 1 && state.views == 0 {
                    self.state(id).offset = state.offset;
                    self.state(source).allocated = false;
                    return;
                }
            }
        }
        self.state(id).offset = self.take(padded(tensor.bytes()));
    }

    /// One child of a tensor was computed.
    fn release(&mut self, id: Id) {
        self.state(id).children -= 1;
        let state = *self.state(id);
        if state.children > 0 || state.views > 0 {
            return;
        }
        match self.graph.tensors[id.0 as usize].kind {
            Kind::View(root) => {
                let state = self.state(root);
                state.views -= 1;
                if state.views == 0 && state.children == 0 && state.allocated {
                    self.give_back(root);
                }
            }
            _ if state.allocated => self.give_back(id),
            _ => {}
        }
    }

    fn give_back(&mut self, id: Id) {
        let tensor = &self.graph.tensors[id.0 as usize];
        if tensor.output {
            return;
        }
        let state = self.state(id);
        state.allocated = false;
        let (offset, size) = (state.offset, padded(tensor.bytes()));
        if size == 0 {
            return;
        }
        let at = self.free.partition_point(|block| block.offset < offset);
        self.free.insert(at, Block { offset, size });
        // With the next, then with the one before.
        for first in [at, at.wrapping_sub(1)] {
            let Some(&[left, right]) = self.free.get(first..).and_then(|blocks| blocks.first_chunk()) else { continue };
            if left.offset.saturating_add(left.size) == right.offset {
                self.free[first].size = left.size.saturating_add(right.size);
                self.free.remove(first + 1);
            }
        }
    }

    /// The smallest free block that is large enough, the endless one at last.
    fn take(&mut self, size: u64) -> u64 {
        let last = self.free.len() - 1;
        let mut best = last;
        for (number, block) in self.free[..last].iter().enumerate() {
            if block.size >= size && (best == last || block.size <= self.free[best].size) {
                best = number;
            }
        }
        let block = &mut self.free[best];
        let offset = block.offset;
        block.offset = offset.saturating_add(size);
        block.size = block.size.saturating_sub(size);
        if block.size == 0 && best != last {
            self.free.remove(best);
        }
        self.most = self.most.max(offset.saturating_add(size));
        offset
    }
}

fn padded(bytes: u64) -> u64 {
    bytes.checked_next_multiple_of(ALIGNMENT).unwrap_or(bytes)
}
