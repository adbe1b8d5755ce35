use grpo_rollout::SampleKey;

/// The order in which the problems of a dataset are met: all of them once before any comes again, shuffled anew each
/// time, and determined by the seed alone.
#[derive(Debug, Clone)]
pub struct Order {
    n: usize,
    seed: u64,
    epoch: Option<(u64, Vec<usize>)>,
}

impl Order {
    /// The order of `n` problems, at least one.
    pub fn new(n: usize, seed: u64) -> Self {
        Self { n, seed, epoch: None }
    }

    /// The index of the problem at a position of the run, from 0.
    pub fn problem(&mut self, position: u64) -> usize {
        let n = self.n as u64;
        let epoch = position / n;
        if self.epoch.as_ref().is_none_or(|(current, _)| *current != epoch) {
            self.epoch = Some((epoch, shuffled(self.n, self.seed, epoch)));
        }
        let (_, order) = self.epoch.as_ref().expect("the epoch has just been shuffled");
        order[(position % n) as usize]
    }

    /// The indices of the `n` problems of a step, from 0.
    pub fn batch(&mut self, step: u64, n: usize) -> Vec<usize> {
        let first = step * n as u64;
        (first..first + n as u64).map(|position| self.problem(position)).collect()
    }
}

fn shuffled(n: usize, seed: u64, epoch: u64) -> Vec<usize> {
    // `u64::MAX` is no completion's index, so this key is used for nothing else.
    let key = |problem: usize| {
        SampleKey { seed, step: epoch, problem: problem as u64, sample: u64::MAX }.uniform(0)
    };
    let mut keyed: Vec<(f64, usize)> = (0..n).map(|problem| (key(problem), problem)).collect();
    keyed.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    keyed.into_iter().map(|(_, problem)| problem).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_epoch_has_all_problems_in_an_order_of_its_own() {
        let mut order = Order::new(50, 3);
        let epochs: Vec<Vec<usize>> =
            (0..3).map(|epoch| (0..50).map(|i| order.problem(epoch * 50 + i)).collect()).collect();
        for epoch in &epochs {
            let mut sorted = epoch.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..50).collect::<Vec<_>>());
        }
        assert!(epochs[0] != epochs[1] && epochs[1] != epochs[2]);
        // Any position can be asked for again, in any order.
        assert_eq!(order.problem(7), epochs[0][7]);
        let other: Vec<usize> = (0..50).map(|i| Order::new(50, 4).problem(i)).collect();
        assert_ne!(other, epochs[0]);
    }
}
