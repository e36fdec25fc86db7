//! The systemd unit.

use std::path::Path;

use base::{Class, Problem};
use cli::ServerOptions;

/// Writes the unit and says what to do with it.
///
/// # Errors
/// Not root, or the file cannot be written.
pub(crate) fn install(options: &ServerOptions, program: &Path) -> Result<String, Problem> {
    let path = Path::new("/etc/systemd/system/stead.service");
    let text = unit(options, program);
    std::fs::write(path, text).map_err(|error| {
        Problem::new(Class::Denied, "bin.unit", format!("{}: {error}", path.display()))
            .with_hint("run the command as root")
    })?;
    let next = "systemctl daemon-reload && systemctl enable --now stead";
    Ok(format!("wrote {}\nnext: {next}", path.display()))
}

/// `KillMode=process`: workloads and gateway outlive a restart of the unit.
fn unit(options: &ServerOptions, program: &Path) -> String {
    let mut command = format!("{} serve --data {}", program.display(), options.data.display());
    for (flag, value) in [("--listen", &options.listen), ("--gateway-listen", &options.gateway_listen)] {
        if let Some(value) = value {
            command.push_str(&format!(" {flag} {value}"));
        }
    }
    for (flag, value) in [("--tls-certificate", &options.tls_certificate), ("--tls-key", &options.tls_key)] {
        if let Some(value) = value {
            command.push_str(&format!(" {flag} {}", value.display()));
        }
    }
    if options.insecure_plaintext {
        command.push_str(" --insecure-plaintext");
    }
    format!(
        "[Unit]\n\
         Description=Stead\n\
         After=network-online.target\n\
         Wants=network-online.target\n\n\
         [Service]\n\
         ExecStart={command}\n\
         KillMode=process\n\
         Restart=always\n\
         RestartSec=1\n\
         Delegate=yes\n\
         LimitNOFILE=65536\n\n\
         [Install]\n\
         WantedBy=multi-user.target\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_keeps_workloads_alive_and_names_the_directory() {
        let options = ServerOptions {
            data: "/var/lib/stead".into(),
            listen: Some("127.0.0.1:7070".into()),
            gateway_listen: None,
            tls_certificate: None,
            tls_key: None,
            insecure_plaintext: false,
        };
        let text = unit(&options, Path::new("/usr/local/bin/stead"));
        assert!(text.contains(
            "ExecStart=/usr/local/bin/stead serve --data /var/lib/stead --listen 127.0.0.1:7070\n"
        ));
        assert!(text.contains("KillMode=process"));
    }
}
