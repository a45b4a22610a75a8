//! What the cache alone gives: a model that is whole, and clear words where it is not.

use std::fs;

use ptm_models::hub::{Error, Hub, Pattern};

use super::server::COMMIT;
use super::{CONFIG, Setup, settings};

#[test]
fn offline_uses_the_cache_and_no_network() {
    let setup = Setup::new();
    let mut settings = setup.settings();
    settings.offline = true;
    let offline = Hub::new(settings);
    let error = offline.resolve("org/model", None, &[]).unwrap_err().to_string();
    assert!(
        error.contains("org/model at revision main is not in the cache") && error.contains("HF_HUB_OFFLINE"),
        "{error}"
    );
    assert!(setup.server.requests().is_empty());
    let path = setup.resolve().unwrap();
    setup.server.requests();
    assert_eq!(offline.resolve("org/model", None, &[]).unwrap(), path);
    assert_eq!(offline.resolve("org/model", Some(COMMIT), &[]).unwrap(), path);
    assert!(setup.server.requests().is_empty());
    // a snapshot that lacks a shard is not whole
    fs::remove_file(path.join("model.safetensors")).unwrap();
    fs::write(
        path.join("model.safetensors.index.json"),
        "{\"weight_map\":{\"w\":\"model-00001-of-00001.safetensors\"}}",
    )
    .unwrap();
    let error = offline.resolve("org/model", None, &[]).unwrap_err().to_string();
    assert!(error.contains("it lacks model-00001-of-00001.safetensors"), "{error}");
}

#[test]
fn offline_a_model_in_part_is_none() {
    let setup = Setup::new();
    let config = [Pattern::new("config.json")];
    let path = setup.hub().resolve("org/model", None, &config).unwrap();
    let mut settings = setup.settings();
    settings.offline = true;
    let offline = Hub::new(settings);
    // who wants no more than that has it
    assert_eq!(offline.resolve("org/model", None, &config).unwrap(), path);
    let error = offline.resolve("org/model", None, &[Pattern::new("vocab.txt")]).unwrap_err();
    assert!(matches!(error, Error::NotCached { .. }), "{error}");
    let lacks = || offline.resolve("org/model", None, &[]).map_err(|error| error.to_string());
    let error = lacks().unwrap_err();
    assert!(error.contains("it lacks weights: model.safetensors or pytorch_model.bin"), "{error}");
    assert!(error.contains("HF_HUB_OFFLINE") && error.contains("`ptm pull org/model` fetches it"), "{error}");
    // a broken link is no file
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("../../blobs/none", path.join("model.safetensors")).unwrap();
        assert!(lacks().unwrap_err().contains("it lacks weights"));
        fs::remove_file(path.join("model.safetensors")).unwrap();
    }
    fs::write(path.join("pytorch_model.bin"), "x").unwrap();
    assert_eq!(lacks().unwrap(), path);
    fs::remove_file(path.join("config.json")).unwrap();
    assert!(lacks().unwrap_err().contains("it lacks config.json)"));
    // sentence-transformers may keep the encoder in a folder
    let inner = path.join("0_Transformer");
    fs::create_dir(&inner).unwrap();
    fs::rename(path.join("pytorch_model.bin"), inner.join("pytorch_model.bin")).unwrap();
    fs::write(inner.join("config.json"), CONFIG).unwrap();
    fs::write(path.join("modules.json"), "[]").unwrap();
    assert_eq!(lacks().unwrap(), path);
}

#[test]
fn offline_of_two_formats_the_one_that_is_read_counts() {
    let setup = Setup::new();
    let path = setup.resolve().unwrap();
    fs::rename(path.join("model.safetensors"), path.join("shard.safetensors")).unwrap();
    let index = |name: &str, shard: &str| {
        fs::write(path.join(name), format!("{{\"weight_map\":{{\"w\":\"{shard}\"}}}}")).unwrap();
    };
    index("model.safetensors.index.json", "shard.safetensors");
    index("pytorch_model.bin.index.json", "absent.bin");
    let mut settings = setup.settings();
    settings.offline = true;
    assert_eq!(Hub::new(settings).resolve("org/model", None, &[]).unwrap(), path);
}

#[test]
fn without_a_server_the_cache_will_do() {
    let setup = Setup::new();
    let path = setup.resolve().unwrap();
    let gone = Hub::new(settings("http://127.0.0.1:1", setup.dir.path()));
    assert_eq!(gone.resolve("org/model", None, &[]).unwrap(), path);
    let error = gone.resolve("org/other", None, &[]).unwrap_err();
    assert!(matches!(error, Error::Network { .. }), "{error}");
    assert!(error.to_string().contains("check the network"), "{error}");
}
