//! Gradient checkpointing (Chen et al. 2016): a stretch of a model keeps its inputs alone, and is run a second time when
//! its gradients are asked for. What is random in it has to come out the same: dropout here is a function of its seed.
//!
//! Burn's own checkpointing recomputes elementwise operations; here a whole layer is one operation of the graph.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Flex};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::prelude::*;

use crate::backend::{absent, is_fused};

/// Inputs that a stretch has at most.
const INPUTS: usize = 3;

/// Gradients of a stretch: of its inputs, and of its parameters by their place in the graph that waits for them.
struct Found {
    inputs: Vec<Option<FlexTensor>>,
    parameters: Vec<(NodeId, FlexTensor)>,
}

/// What can be run again.
trait Again: Send {
    /// Without a graph.
    fn forward(&self, inputs: &[FlexTensor]) -> FlexTensor;
    /// With one of its own, for the inputs that need gradients and all parameters that do.
    fn backward(&self, inputs: &[FlexTensor], needs: &[bool], dy: FlexTensor) -> Found;
}

struct Stretch<M, F> {
    module: M,
    run: F,
}

#[derive(Clone)]
struct State {
    again: Arc<Mutex<dyn Again>>,
    inputs: Vec<FlexTensor>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recomputed").field("inputs", &self.inputs.len()).finish_non_exhaustive()
    }
}

fn plain(tensor: FlexTensor) -> Tensor<2> {
    Tensor::from_primitive::<Flex>(tensor)
}

fn flex<const D: usize>(tensor: Tensor<D>) -> FlexTensor {
    tensor.try_into_primitive::<Flex>().expect("the device was found to be Flex")
}

/// Gives parameters leaves of a new graph, and remembers those that learn by their places in the old one.
#[derive(Default)]
struct Leaves(Vec<Option<NodeId>>);

impl ModuleMapper for Leaves {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor) = (param.id, param.into_value());
        let learns = tensor.is_require_grad();
        let leaf = Tensor::from_inner(tensor.clone().inner());
        let place = learns.then(|| tensor.try_into_primitive::<Autodiff<Flex>>().ok().map(|tensor| tensor.id()));
        self.0.push(place.flatten());
        Param::initialized(id, if learns { leaf.require_grad() } else { leaf })
    }
}

/// Takes the gradients of those leaves.
struct Collect<'a> {
    places: std::slice::Iter<'a, Option<NodeId>>,
    gradients: &'a mut burn::tensor::Gradients,
    found: Vec<(NodeId, FlexTensor)>,
}

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(place) = self.places.next().copied().flatten()
            && let Some(gradient) = param.val().grad_remove(self.gradients)
        {
            self.found.push((place, flex(gradient)));
        }
    }
}

impl<M: Module, F: Fn(&M, Vec<Tensor<2>>) -> Tensor<2> + Send> Again for Stretch<M, F> {
    fn forward(&self, inputs: &[FlexTensor]) -> FlexTensor {
        flex((self.run)(&self.module.valid(), inputs.iter().cloned().map(plain).collect()))
    }

    fn backward(&self, inputs: &[FlexTensor], needs: &[bool], dy: FlexTensor) -> Found {
        let inputs = inputs.iter().zip(needs).map(|(input, needed)| {
            let input = Tensor::from_inner(plain(input.clone()));
            if *needed { input.require_grad() } else { input }
        });
        let inputs: Vec<Tensor<2>> = inputs.collect();
        let mut leaves = Leaves::default();
        let module = self.module.clone().map(&mut leaves);
        let y = (self.run)(&module, inputs.clone());
        // the gradient of this sum by y is dy, bit by bit
        let mut gradients = (y * Tensor::from_inner(plain(dy))).sum().backward();
        let inputs = inputs.iter().map(|input| input.grad_remove(&mut gradients).map(flex)).collect();
        let mut collect = Collect { places: leaves.0.iter(), gradients: &mut gradients, found: Vec::new() };
        module.visit(&mut collect);
        Found { inputs, parameters: collect.found }
    }
}

#[derive(Debug)]
struct RecomputedBackward;

impl Backward<Flex, { INPUTS + 1 }> for RecomputedBackward {
    type State = State;

    fn backward(self, ops: Ops<State, { INPUTS + 1 }>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<Flex>(&ops.node);
        let State { again, inputs } = ops.state;
        let needs: Vec<bool> = ops.parents.iter().take(inputs.len()).map(Option::is_some).collect();
        let found = again.lock().unwrap_or_else(PoisonError::into_inner).backward(&inputs, &needs, dy);
        for (node, gradient) in ops.parents.into_iter().zip(found.inputs) {
            if let Some((node, gradient)) = node.zip(gradient) {
                grads.register::<Flex>(node.id, gradient);
            }
        }
        for (place, gradient) in found.parameters {
            grads.register::<Flex>(place, gradient);
        }
    }
}

/// One parameter that learns, as a tensor of any rank: by it the operation is part of the graph.
#[derive(Default)]
struct Anchor(Option<burn::backend::tensor::FloatTensor<Autodiff<Flex>>>);

impl ModuleVisitor for Anchor {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.0.is_none() && param.val().is_require_grad() {
            self.0 = param.val().try_into_primitive::<Autodiff<Flex>>().ok();
        }
    }
}

/// `run(module, inputs)`, of which nothing but `inputs` is kept for the backward pass, which runs it again. It has to
/// give the same every time. On other devices than the CPU nothing is recomputed.
///
/// # Shapes
/// Up to three `inputs` of any rows and columns.
///
/// # Panics
/// When there are more.
pub fn recomputed<M: Module + 'static, const N: usize>(
    module: &M,
    inputs: [Tensor<2>; N],
    run: impl Fn(&M, [Tensor<2>; N]) -> Tensor<2> + Send + 'static,
) -> Tensor<2> {
    const { assert!(N <= INPUTS, "a stretch has up to three inputs") };
    let Some(device) = inputs.first().map(Tensor::device).filter(is_fused) else { return run(module, inputs) };
    let run = move |module: &M, inputs: Vec<Tensor<2>>| {
        run(module, inputs.try_into().expect("as many come back as were kept"))
    };
    let again = Stretch { module: module.clone(), run };
    let primitive = |tensor: Tensor<2>| {
        Tensor::from_inner(tensor).try_into_primitive::<Autodiff<Flex>>().expect("the device was found to be Flex")
    };
    let mut anchor = Anchor::default();
    module.visit(&mut anchor);
    let anchor = anchor.0.unwrap_or_else(|| primitive(absent(&device)));
    let inputs = inputs.map(primitive);
    let none = primitive(absent(&device));
    let node = |number: usize| inputs.get(number).unwrap_or(&none).node();
    let nodes = [node(0), node(1), node(2), anchor.node()];
    let inputs: Vec<FlexTensor> = inputs.iter().map(|input| input.primitive().clone()).collect();
    let y = again.forward(&inputs);
    let prepared = Backward::<Flex, { INPUTS + 1 }>::prepare::<NoCheckpointing>(RecomputedBackward, nodes);
    let y = match prepared.compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(State { again: Arc::new(Mutex::new(again)), inputs }, y),
        OpsKind::UnTracked(prepared) => prepared.finish(y),
    };
    Tensor::from_primitive::<Autodiff<Flex>>(y)
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;
    use ptm_kernels::activation::Activation;
    use ptm_kernels::dropout::Dropout;

    use super::*;
    use crate::{dropout, linear};

    #[derive(Module, Debug)]
    struct Two {
        up: Param<Tensor<2>>,
        down: Param<Tensor<2>>,
    }

    fn tensor(rows: usize, columns: usize, salt: f32) -> Tensor<2> {
        let values: Vec<f32> = (0..rows * columns).map(|i| ((i as f32 + salt) * 1.3).sin()).collect();
        Tensor::from_data(TensorData::new(values, [rows, columns]), &Device::flex().autodiff())
    }

    fn run(module: &Two, [x, y]: [Tensor<2>; 2]) -> Tensor<2> {
        let x = dropout(linear(x, module.up.val(), None, Activation::Gelu), Dropout::new(0.3, 7));
        linear(x, module.down.val(), None, Activation::None) + y
    }

    /// The gradients of up, down, x and y, where `x` and the parameter `up` learn as told.
    fn gradients(again: bool, x_learns: bool, up_learns: bool) -> Vec<Option<Vec<f32>>> {
        let learning = |tensor: Tensor<2>, learns: bool| if learns { tensor.require_grad() } else { tensor };
        let parameter = |tensor| Param::initialized(burn::module::ParamId::new(), tensor);
        let two = Two {
            up: parameter(learning(tensor(5, 4, 0.0), up_learns)),
            down: parameter(tensor(4, 5, 9.0).require_grad()),
        };
        let (x, y) = (learning(tensor(6, 4, 3.0), x_learns), tensor(6, 4, 5.0).require_grad());
        // what comes before and after has gradients too, and the module is used twice
        let (a, b) = (x.clone() * 2.0, y.clone() * 3.0);
        let mut out = a;
        for _ in 0..2 {
            let inputs = [out, b.clone()];
            out = if again { recomputed(&two, inputs, run) } else { run(&two, inputs) };
        }
        let mut found = out.square().sum().backward();
        [two.up.val(), two.down.val(), x, y]
            .map(|tensor| tensor.grad_remove(&mut found).map(|gradient| gradient.into_data().try_to_vec().unwrap()))
            .into()
    }

    #[test]
    fn gradients_are_the_same_bit_by_bit() {
        for (x, up) in [(true, true), (false, true), (true, false), (false, false)] {
            let (plain, again) = (gradients(false, x, up), gradients(true, x, up));
            assert_eq!(plain, again, "{x} {up}");
            assert_eq!([plain[0].is_some(), plain[2].is_some()], [up, x]);
            assert!(plain[1].is_some() && plain[3].is_some());
        }
    }

    #[test]
    fn what_learns_nothing_is_no_part_of_the_graph() {
        let parameter = |tensor| Param::initialized(burn::module::ParamId::new(), tensor);
        let two = Two { up: parameter(tensor(5, 4, 0.0)), down: parameter(tensor(4, 5, 9.0)) };
        let out = recomputed(&two, [tensor(6, 4, 3.0), tensor(6, 4, 5.0)], run);
        assert!(!out.is_tracked());
    }
}
