// SPDX-License-Identifier: EUPL-1.2
//! A tenant with invented data cannot reach a productive receiver, whoever wrote the configuration.

use kop_tests::{Error, Instance};

use crate::CONFIG;

#[tokio::test]
async fn a_test_tenant_cannot_reach_a_productive_receiver() -> Result<(), Error> {
    let instance = Instance::of_example("musterstadt")?;
    instance.edit(CONFIG, |text| {
        text.replace(
            "name = \"Untere Bauaufsichtsbehörde Musterstadt\"\nstufe = \"test\"",
            "name = \"Untere Bauaufsichtsbehörde Musterstadt\"\nstufe = \"produktion\"",
        )
    })?;
    let checked = instance.kop(&["check"])?;
    assert!(!checked.status.success());
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(said.contains("KOP-K") && said.contains("bauaufsicht"), "{said}");
    // Nor when somebody starts the service all the same: the tenant is left out, its door is closed.
    let server = instance.serve().await?;
    let answer = server.post_ozg_cloud(crate::TENANT, "{}", None, Vec::new()).await?;
    assert_eq!(answer.status().as_u16(), 404);
    Ok(())
}
