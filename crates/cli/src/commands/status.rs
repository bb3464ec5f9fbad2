//! `strongroom status`.

use futures::future::join_all;
use serde::Serialize;
use strongroom_client::{
    Error, Node,
    proto::{NodeState, NodeStatusResponse},
};

use crate::{
    connect::Session,
    names,
    output::{Output, Tone, right},
    progress::waiting,
    views,
};

/// Every node is unsealed.
const UNSEALED: u8 = 0;
/// A node couldn't be asked.
const FAILED: u8 = 1;
/// Every node answered, and one is not unsealed.
const NOT_UNSEALED: u8 = 2;

type Answer<'a> = (&'a Node, Result<NodeStatusResponse, Error>);

/// Shows the state of every configured node.
pub(crate) async fn run(session: Session) -> anyhow::Result<u8> {
    let asked =
        session.client.nodes().iter().map(|node| async move { (node, node.status().await) });
    let answers = waiting(session.output, "asking the nodes", join_all(asked)).await;
    if session.output.is_json() {
        show_json(session.output, &answers)?;
    } else {
        show_table(session.output, &answers)?;
    }
    Ok(exit_code(answers.iter().map(|(_, answer)| answer.as_ref().ok())))
}

fn exit_code<'a>(answers: impl Iterator<Item = Option<&'a NodeStatusResponse>>) -> u8 {
    let mut code = UNSEALED;
    for answer in answers {
        let Some(status) = answer else { return FAILED };
        let state = status.seal.as_ref().map_or(NodeState::Unspecified, |seal| seal.state());
        if state != NodeState::Unsealed {
            code = NOT_UNSEALED;
        }
    }
    code
}

fn show_json(output: Output, answers: &[Answer<'_>]) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Entry<'a> {
        address: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<views::NodeStatus<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<views::CallError<'a>>,
    }
    #[derive(Serialize)]
    struct All<'a> {
        nodes: Vec<Entry<'a>>,
    }
    let nodes = answers.iter().map(|(node, answer)| Entry {
        address: node.address().to_string(),
        status: answer.as_ref().ok().map(Into::into),
        error: answer.as_ref().err().map(Into::into),
    });
    output.json(&All { nodes: nodes.collect() })
}

fn show_table(output: Output, answers: &[Answer<'_>]) -> anyhow::Result<()> {
    let titles = [
        "ADDRESS", "NODE", "STATE", "SHARES", "ROLE", "TERM", "LEADER", "APPLIED", "EVENTS",
        "VERSION",
    ];
    let mut table = output.table(titles);
    right(&mut table, &[5, 6, 7, 8]);
    for (node, answer) in answers {
        let address = output.cell(node.address(), Tone::Plain);
        match answer {
            Ok(status) => {
                let seal = status.seal.clone().unwrap_or_default();
                let plain = |text: String| output.cell(text, Tone::Plain);
                table.add_row([
                    address,
                    plain(seal.node_name.clone()),
                    output.cell(names::node_state(seal.state), names::node_state_tone(seal.state)),
                    plain(shares(&seal)),
                    plain(status.role.clone()),
                    plain(status.term.to_string()),
                    plain(some_number(status.leader_id)),
                    plain(status.applied_index.to_string()),
                    plain(status.audit_size.to_string()),
                    plain(seal.version.clone()),
                ]);
            }
            Err(error) => {
                let reason = if error.reason().is_empty() { "error" } else { error.reason() };
                table.add_row([
                    address,
                    output.cell("-", Tone::Faint),
                    output.cell(reason, Tone::Bad),
                ]);
            }
        }
    }
    output.show(&table)?;
    for (node, answer) in answers {
        if let Err(error) = answer {
            eprintln!("{}: {}", node.address(), crate::output::printable(error.message()));
        }
    }
    Ok(())
}

/// `2 of 3` while shares are awaited, else how many unseal: `3 of 5`.
fn shares(seal: &strongroom_client::proto::SealStatusResponse) -> String {
    match (seal.threshold, seal.state()) {
        (0, _) => "-".to_owned(),
        (threshold, NodeState::Sealed) => format!("{} of {threshold} given", seal.progress),
        (threshold, _) => format!("{threshold} of {}", seal.shares),
    }
}

fn some_number(number: u64) -> String {
    if number == 0 { "-".to_owned() } else { number.to_string() }
}

#[cfg(test)]
mod tests {
    use strongroom_client::proto::SealStatusResponse;

    use super::*;

    fn status(state: NodeState) -> NodeStatusResponse {
        let seal = SealStatusResponse { state: state.into(), ..Default::default() };
        NodeStatusResponse { seal: Some(seal), ..Default::default() }
    }

    #[test]
    fn an_unreachable_node_is_an_error_whatever_the_others_say() {
        let unsealed = status(NodeState::Unsealed);
        assert_eq!(exit_code([Some(&unsealed), None].into_iter()), FAILED);
    }

    #[test]
    fn every_state_but_unsealed_is_exit_code_two() {
        let unsealed = status(NodeState::Unsealed);
        for state in [NodeState::Sealed, NodeState::Uninitialised, NodeState::Verifying] {
            let other = status(state);
            assert_eq!(exit_code([Some(&unsealed), Some(&other)].into_iter()), NOT_UNSEALED);
        }
        assert_eq!(exit_code([Some(&NodeStatusResponse::default())].into_iter()), NOT_UNSEALED);
        assert_eq!(exit_code([Some(&unsealed), Some(&unsealed)].into_iter()), UNSEALED);
    }
}
