//! Whose the credentials are is asked before anything is served.

use super::listening::answering;
use crate::{EX_CONFIG, GOOD, Running, command, run, text, write_closed};

#[test]
fn serve_does_not_start_with_another_organizations_credential() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("gateway.toml");
    let (upstream, _) = answering(r#"{"organizationId":"globex"}"#);
    let good = GOOD.replace("AUDIT", directory.path().join("audit").to_str().unwrap());
    let good = good.replace("127.0.0.1:1/", &format!("{upstream}/"));
    write_closed(&config, good.replace("credential =", "upstream_organization_id = \"acme\", credential ="));
    let output = run(&["serve", "--config", config.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(EX_CONFIG));
    let said = text(&output.stderr);
    let last = said.lines().last().unwrap();
    assert_eq!(last, "prebuild-gateway: orgs[0].upstream_organization_id: upstream says it is `globex`");

    write_closed(&config, good);
    let serve = Running::start(command(&["serve", "--config", config.to_str().unwrap()]), true);
    serve.lines_to("\"serving\"");
    assert_eq!(serve.stop(), Some(0));
}
