//! What each body makes of packed sequences when that is all there is: one stack reads them as they are, the decoder of an
//! encoder-decoder reads its source again.

use ptm_models::{
    Bart, BartConfig, BartDecoder, BartEncoder, Body, Configuration, Decoder, DecoderConfig, Encoder, EncoderConfig,
    Pair, T5, T5Config, T5Encoder, Xlnet, XlnetConfig,
};
use ptm_text::Packed;

/// How a body reads sequences that nobody else says anything about.
pub(crate) trait Reads: Body {
    /// What `run` makes of the packed sequences.
    fn read<T>(
        config: &Self::Config,
        batch: &Packed,
        run: impl FnOnce(&Self::Input<'_>) -> ptm_models::Result<T>,
    ) -> ptm_models::Result<T>;
}

impl Reads for Encoder {
    fn read<T>(
        _: &EncoderConfig,
        batch: &Packed,
        run: impl FnOnce(&Self::Input<'_>) -> ptm_models::Result<T>,
    ) -> ptm_models::Result<T> {
        run(&batch.into())
    }
}

impl Reads for Xlnet {
    fn read<T>(
        _: &XlnetConfig,
        batch: &Packed,
        run: impl FnOnce(&Self::Input<'_>) -> ptm_models::Result<T>,
    ) -> ptm_models::Result<T> {
        run(&batch.into())
    }
}

/// A body that reads one stack of sequences.
macro_rules! reads_packed {
    ($body:ident, $config:ident) => {
        impl Reads for $body {
            fn read<T>(
                _: &$config,
                batch: &Packed,
                run: impl FnOnce(&Packed) -> ptm_models::Result<T>,
            ) -> ptm_models::Result<T> {
                run(batch)
            }
        }
    };
}

reads_packed!(Decoder, DecoderConfig);
reads_packed!(BartEncoder, BartConfig);
reads_packed!(BartDecoder, BartConfig);
reads_packed!(T5Encoder, T5Config);

/// An encoder-decoder, whose decoder reads the source again, moved right.
macro_rules! reads_twice {
    ($body:ident, $config:ident) => {
        impl Reads for $body {
            fn read<T>(
                config: &$config,
                batch: &Packed,
                run: impl FnOnce(&Pair<'_>) -> ptm_models::Result<T>,
            ) -> ptm_models::Result<T> {
                let shifted = batch.offsets.windows(2).map(|w| config.shifted(&batch.ids[w[0]..w[1]]));
                let shifted = shifted.collect::<ptm_models::Result<Vec<_>>>()?;
                let target = Packed::from_ids(&shifted, config.positions())
                    .map_err(|error| ptm_models::Error::Input(error.to_string()))?;
                run(&Pair { source: batch, target: &target })
            }
        }
    };
}

reads_twice!(Bart, BartConfig);
reads_twice!(T5, T5Config);
