//! The golden frames under BPF_PROG_TEST_RUN: the programs on this kernel do what the rules say,
//! and what the decision does in userspace.

use std::error::Error;

use aya::Ebpf;
use tests::{
    golden::{
        Direction, cases, judge,
        mutate::{Dice, mutate},
        outcome::Outcome,
        world::State,
    },
    model::Model,
    test_run::{Bed, Shell, boot_time},
};
use vip_common::work::Work;

use crate::cases::Judge;

/// For each program; on the host it is 100,000.
const MUTATED: usize = 700;
const SEED: u64 = 0x7819_76ba_5ac6;
const SHELLS: [(Shell, &str); 3] = [
    (Shell::Xdp, "xvip_ingress"),
    (Shell::TcIn, "xvip_tc_in"),
    (Shell::TcOut, "xvip_tc_out"),
];

/// Two cases for each program of a loaded object.
pub(crate) fn run(judge: &mut Judge, ebpf: Ebpf) {
    let bed = Bed::of(ebpf).map_err(Into::into);
    let Some(mut bed) = judge.value("the maps are filled", bed) else {
        return;
    };
    for (shell, name) in SHELLS {
        judge.count(&format!("golden frames, {name}"), golden(&mut bed, shell));
        judge.count(&format!("mutated frames, {name}"), mutated(&mut bed, shell));
    }
}

/// Every golden frame in every state that it names; how many that are.
fn golden(bed: &mut Bed, shell: Shell) -> Result<usize, Box<dyn Error>> {
    let cases = cases();
    let mut count = 0;
    for state in State::ALL {
        let model = fill(bed, state)?;
        for case in &cases {
            let wanted = case.expected.iter().find(|(known, _)| *known == state);
            let Some((_, wanted)) = wanted else { continue };
            if !Shell::of(case.direction).contains(&shell) {
                continue;
            }
            let title = format!("{} in {state:?}", case.name);
            let got = compare(bed, &model, shell, &case.frame)
                .map_err(|why| format!("{title}: {why}"))?;
            if got != *wanted {
                return Err(format!("{title}: {got} where {wanted} was due").into());
            }
            count += 1;
        }
    }
    Ok(count)
}

fn mutated(bed: &mut Bed, shell: Shell) -> Result<usize, Box<dyn Error>> {
    let originals: Vec<Vec<u8>> = cases().into_iter().map(|case| case.frame).collect();
    let mut dice = Dice::new(SEED);
    let states = [State::Confirmed, State::Fenced];
    let mut count = 0;
    for state in states {
        let model = fill(bed, state)?;
        for _ in 0..MUTATED / states.len() {
            let frame = mutate(&mut dice, &originals);
            if shell.takes(&frame) {
                compare(bed, &model, shell, &frame)
                    .map_err(|why| format!("{state:?}: {why}: {frame:02x?}"))?;
                count += 1;
            }
        }
    }
    Ok(count)
}

fn fill(bed: &mut Bed, state: State) -> Result<Model, Box<dyn Error>> {
    let now = boot_time();
    let contents = state.contents(now);
    bed.fill(&contents)?;
    Ok(Model::new(&contents, now))
}

/// What kernel and userspace, which have to agree, leave behind.
fn compare(
    bed: &mut Bed,
    model: &Model,
    shell: Shell,
    frame: &[u8],
) -> Result<Outcome, Box<dyn Error>> {
    let direction = match shell {
        Shell::Xdp | Shell::TcIn => Direction::In,
        Shell::TcOut => Direction::Out,
    };
    let user = judge(model, &mut Work::new(), direction, frame);
    let kernel = bed.judge(shell, frame)?;
    if user == kernel {
        Ok(kernel)
    } else {
        Err(format!("userspace {user:?}, kernel {kernel:?}").into())
    }
}
