//! nginx with one fixed header, and nginx whose Lua does the whole job.

use std::{fs, net::SocketAddr, path::Path};

use super::Peer;
use crate::{
    contestant::Contestant,
    failure::Failure,
    fleet::{Core, Line},
    folder::{Folder, free_address},
    scene::{
        Scene, fixed_header,
        servers::{REDIS_PASSWORD, nginx, nginx_head, nginx_http},
    },
    users::{AUDIENCE, ISSUER, ISSUER_SECRET, name, upstream_token},
};

/// Debian's modules.
const MODULES: &str = "/usr/lib/nginx/modules";
/// What the script needs of Debian's packages beside the module.
const LIBRARIES: [(&str, &str); 2] = [
    ("/usr/share/lua/5.1/resty/core.lua", "the package lua-resty-core"),
    ("/usr/share/lua/5.1/resty/lrucache.lua", "the package lua-resty-lrucache"),
];
/// Under which name a user's token lies in Redis, in the clear.
const TOKENS: &str = "peer:token:";

/// nginx that sends everyone's calls with one credential.
pub fn fixed(scene: &Scene, core: Core, wrap: impl FnOnce(Line) -> Line) -> Result<Contestant, Failure> {
    let (address, who) = (free_address()?, Peer::Nginx.who());
    let (head, http) = (nginx_head(&scene.folder, "fixed"), nginx_http(&scene.folder, "fixed"));
    let server = server(address, scene.upstream, &format!("proxy_set_header Authorization \"{}\";", fixed_header()));
    let process = nginx("fixed", &format!("{head}http {{\n{http}{server}}}\n"), address, core, &scene.folder, wrap)?;
    Ok(Contestant { who, job: Peer::Nginx.job(), process, address, prefix: "" })
}

/// Why Lua isn't here, if it isn't.
pub fn lua_is_missing() -> Option<&'static str> {
    let module = Path::new(MODULES).join("ngx_http_lua_module.so");
    if !module.is_file() {
        return Some("the package libnginx-mod-http-lua");
    }
    let cjson = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    if !cjson.map(|place| place.path().join("lua/5.1/cjson.so")).any(|path| path.is_file()) {
        return Some("the package lua-cjson");
    }
    LIBRARIES.into_iter().find(|(path, _)| !Path::new(path).is_file()).map(|(_, package)| package)
}

/// nginx whose Lua verifies each JWT and fetches the user's token from Redis. The tokens lie there in the clear: this peer
/// seals nothing.
pub fn lua(scene: &Scene, core: Core, wrap: impl FnOnce(Line) -> Line) -> Result<Contestant, Failure> {
    let mut redis = scene.redis.client()?;
    let tokens: Vec<[String; 2]> =
        (0..scene.users).map(|user| [format!("{TOKENS}{}", name(user)), upstream_token(user)]).collect();
    for some in tokens.chunks(500) {
        redis.ask_all(some.iter().map(|[key, token]| vec!["SET", key, token]))?;
    }
    let (address, who) = (free_address()?, Peer::NginxLua.who());
    scene.folder.write("whole_job.lua", include_str!("whole_job.lua"))?;
    let config = with_lua(scene.redis.address, &server(address, scene.upstream, HEADER_FROM_LUA), &scene.folder);
    let process = nginx("lua", &config, address, core, &scene.folder, wrap)?;
    Ok(Contestant { who, job: Peer::NginxLua.job(), process, address, prefix: "" })
}

const HEADER_FROM_LUA: &str = r#"set $credential "";
      access_by_lua_block { require("whole_job").run() }
      proxy_set_header Authorization $credential;"#;

fn with_lua(redis: SocketAddr, server: &str, folder: &Folder) -> String {
    let (head, http) = (nginx_head(folder, "lua"), nginx_http(folder, "lua"));
    let (ip, port, path) = (redis.ip(), redis.port(), folder.path().display());
    format!(
        r#"load_module {MODULES}/ndk_http_module.so;
load_module {MODULES}/ngx_http_lua_module.so;
{head}http {{
{http}  lua_package_path "{path}/?.lua;;";
  init_by_lua_block {{
    require("whole_job").setup({{
      secret = "{ISSUER_SECRET}", issuer = "{ISSUER}", audience = "{AUDIENCE}",
      redis = {{ host = "{ip}", port = {port}, password = "{REDIS_PASSWORD}", prefix = "{TOKENS}" }},
    }})
  }}
{server}}}
"#
    )
}

fn server(address: SocketAddr, upstream: SocketAddr, credential: &str) -> String {
    format!(
        r#"  upstream api {{ server {upstream}; keepalive 128; keepalive_requests 1000000000; keepalive_timeout 300s; }}
  server {{
    listen {address};
    location / {{
      {credential}
      proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_pass http://api;
    }}
  }}
"#
    )
}
