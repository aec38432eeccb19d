//! `listeners [NODE]`.

use catchment_proto::node::v1::{ListListenersRequest, Listener};

use super::{Session, known};
use crate::fault::Fault;
use crate::output::{Column, Document, Table, bytes, count, ratio};

pub(super) async fn run(session: &mut Session, node: Option<&str>) -> Result<(), Fault> {
    if session.client.is_node() {
        session.no_name(node)?;
        let answer =
            session.client.node(async |mut node| node.list_listeners(ListListenersRequest {}).await).await?;
        return session
            .output
            .show(&Document::of(&answer), |output| table(&answer.listeners).render(output.width));
    }
    let mut nodes = session.nodes().await?;
    if let Some(name) = node {
        known(name, &nodes)?;
        nodes.retain(|node| node.id == name);
    }
    // As the registry has them: by node.
    let entry = |node: &catchment_proto::cluster::v1::Node| {
        let Document::Map(members) = Document::of(node) else { return Document::Null };
        Document::Map(members.into_iter().filter(|(name, _)| name == "id" || name == "listeners").collect())
    };
    let document = Document::map([("nodes", Document::List(nodes.iter().map(entry).collect()))]);
    session.output.show(&document, |output| {
        let each: Vec<String> = nodes
            .iter()
            .filter(|node| !node.listeners.is_empty())
            .map(|node| format!("{}\n{}", node.id, table(&node.listeners).render(output.width)))
            .collect();
        if each.is_empty() { "no listeners\n".to_owned() } else { each.join("\n") }
    })
}

/// A line each.
pub(super) fn table(listeners: &[Listener]) -> Table {
    let mut table = Table::new(
        &[
            Column::text("ADDRESS"),
            Column::text("ZONE"),
            Column::text("SOURCE"),
            Column::number("SOCKETS"),
            Column::number("BUFFER"),
            Column::number("FULL"),
            Column::number("DATAGRAMS"),
            Column::number("BYTES"),
            Column::number("DROPPED"),
            Column::wide("ALLOW"),
        ],
        "no listeners",
    );
    for listener in listeners {
        table.row([
            listener.address.clone(),
            listener.zone.clone(),
            listener.source.clone(),
            listener.sockets.to_string(),
            bytes(listener.receive_buffer_bytes),
            ratio(listener.buffer_usage_ratio),
            count(listener.datagrams),
            bytes(listener.bytes),
            count(listener.kernel_dropped),
            if listener.allow.is_empty() { "all".to_owned() } else { listener.allow.join(" ") },
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use crate::sample;

    #[test]
    fn listeners_are_a_line_each() {
        let wanted = "\
ADDRESS          ZONE        SOURCE  SOCKETS   BUFFER  FULL  DATAGRAMS    BYTES  DROPPED  ALLOW
[::]:2055                    flow          2  8.0 MiB    3%       1.2M  1.6 GiB       12  all
192.0.2.10:2055  customer-a  flow          2  8.0 MiB    3%       1.2M  1.6 GiB       12  all
";
        assert_eq!(super::table(&sample::nodes()[0].listeners).render(Some(100)), wanted);
    }
}
