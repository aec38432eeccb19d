//! `version`: of this program and of whom it talks to. Nobody answering is no error here.

use catchment_proto::cluster::v1::GetClusterRequest;
use catchment_proto::node::v1::GetHealthRequest;
use catchment_serving::VERSION as OWN;

use super::Session;
use crate::fault::Fault;
use crate::output::{Document, Facts};

pub(super) async fn run(session: &mut Session) -> Result<(), Fault> {
    let client = &mut session.client;
    let answer = match client.is_node() {
        true => {
            let answer = client.node(async |mut node| node.get_health(GetHealthRequest {}).await).await;
            answer.map(|node| (node.version, format!("node {}", node.node_id)))
        }
        false => {
            let answer = client.admin(async |mut admin| admin.get_cluster(GetClusterRequest {}).await).await;
            answer.map(|cluster| (cluster.version, format!("coordinator {}", cluster.coordinator_id)))
        }
    };
    let at = client.endpoint();
    let document = Document::map([
        ("catchctl", Document::text(OWN)),
        (
            "server",
            match &answer {
                Ok((version, who)) => Document::map([
                    ("version", Document::text(version)),
                    ("who", Document::text(who)),
                    ("endpoint", Document::text(&at)),
                ]),
                Err(_) => Document::Null,
            },
        ),
    ]);
    session.output.show(&document, |output| {
        let mut facts = Facts::default();
        facts.add("catchctl", OWN).add(
            "server",
            match &answer {
                Ok((version, who)) => format!("{version} ({who} at {at})"),
                Err(fault) => format!("not asked: {fault}"),
            },
        );
        facts.render(output.width)
    })
}
