use std::process::Command;

use super::gateway::{Place, Variables};
use super::{ALL, Kind};

const KIND: Kind = Kind { identity: ALL, ..Kind::asking("nginx", command) };

fn command(place: &Place, variables: &Variables) -> Command {
    place.filled_in("nginx/countermark.conf.template", "countermark.conf", variables);
    let root = place.root().display();
    // What /etc/nginx/nginx.conf says elsewhere. Without `user`, workers could not write into this directory.
    let main = place.write(
        "nginx.conf",
        &format!(
            "daemon off;\nuser root root;\nworker_processes 1;\npid {root}/pid;\nerror_log {root}/error.log;\n\
             events {{ }}\nhttp {{\n access_log {root}/access.log;\n client_body_temp_path {root}/body;\n \
             proxy_temp_path {root}/proxy;\n fastcgi_temp_path {root}/fastcgi;\n uwsgi_temp_path {root}/uwsgi;\n \
             scgi_temp_path {root}/scgi;\n include {root}/countermark.conf;\n}}\n"
        ),
    );
    let mut command = Command::new("nginx");
    command.arg("-c").arg(main).args(["-e", &format!("{root}/error.log")]);
    command
}

super::tests!(connected);
