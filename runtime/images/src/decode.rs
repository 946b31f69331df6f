//! Bytes of a JPEG or PNG file to 8-bit RGB, the same on every machine.
//!
//! The format is read from the bytes, not from the file's name. JPEG is decoded without SIMD, because vector versions
//! of the inverse DCT may round differently; in strict mode, so that a torn file is an error and not a gray half
//! (only a missing end marker, the last 2 to 4 bytes, goes unnoticed).
//! Alpha is dropped (not blended), gray is repeated, 16 bits become 8. Orientation in EXIF is not applied.

use std::io::Cursor;
use std::path::Path;

use image::{ImageFormat, ImageReader};
use limbeck_answers::Image;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use crate::DataError;

/// Longest side that is decoded: a guard against headers that promise gigabytes.
const MAX_SIDE: usize = 16_384;

/// Decode `bytes`; `named` is the file in messages.
pub fn decode(bytes: &[u8], named: &Path) -> Result<Image, DataError> {
    let corrupt = |why: String| DataError::Corrupt { path: named.to_owned(), why: why.trim_end().to_owned() };
    let image = match format(bytes).map_err(corrupt)? {
        Format::Jpeg => {
            let mut decoder = jpeg(bytes);
            let rgb = decoder.decode().map_err(|e| corrupt(format!("JPEG: {e}")))?;
            let (width, height) = decoder.dimensions().ok_or_else(|| corrupt("JPEG: no size in the header".into()))?;
            Image { width: width as u32, height: height as u32, rgb }
        }
        Format::Png => {
            let mut reader = ImageReader::with_format(Cursor::new(bytes), ImageFormat::Png);
            let mut limits = image::Limits::default();
            limits.max_image_width = Some(MAX_SIDE as u32);
            limits.max_image_height = Some(MAX_SIDE as u32);
            reader.limits(limits);
            let rgb = reader.decode().map_err(|e| corrupt(format!("PNG: {e}")))?.into_rgb8();
            Image { width: rgb.width(), height: rgb.height(), rgb: rgb.into_raw() }
        }
    };
    if !image.is_whole() {
        let Image { width, height, rgb } = &image;
        return Err(corrupt(format!("decodes to {width}x{height} and {} bytes", rgb.len())));
    }
    Ok(image)
}

/// Width and height from the header alone.
pub fn size(bytes: &[u8], named: &Path) -> Result<(u32, u32), DataError> {
    let corrupt = |why: String| DataError::Corrupt { path: named.to_owned(), why: why.trim_end().to_owned() };
    match format(bytes).map_err(corrupt)? {
        Format::Jpeg => {
            let mut decoder = jpeg(bytes);
            decoder.decode_headers().map_err(|e| corrupt(format!("JPEG: {e}")))?;
            let (width, height) = decoder.dimensions().ok_or_else(|| corrupt("JPEG: no size in the header".into()))?;
            Ok((width as u32, height as u32))
        }
        Format::Png => ImageReader::with_format(Cursor::new(bytes), ImageFormat::Png)
            .into_dimensions()
            .map_err(|e| corrupt(format!("PNG: {e}"))),
    }
}

enum Format {
    Jpeg,
    Png,
}

fn format(bytes: &[u8]) -> Result<Format, String> {
    match bytes {
        [] => Err("the file is empty".into()),
        [0xFF, 0xD8, 0xFF, ..] => Ok(Format::Jpeg),
        [0x89, b'P', b'N', b'G', ..] => Ok(Format::Png),
        _ => Err("neither JPEG nor PNG inside".into()),
    }
}

fn jpeg(bytes: &[u8]) -> JpegDecoder<ZCursor<&[u8]>> {
    let options = DecoderOptions::default()
        .set_use_unsafe(false)
        .set_strict_mode(true)
        .set_max_width(MAX_SIDE)
        .set_max_height(MAX_SIDE)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    JpegDecoder::new_with_options(ZCursor::new(bytes), options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::codecs::jpeg::JpegEncoder;
    use image::{DynamicImage, GrayImage, RgbaImage};

    fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.into().write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn from(bytes: &[u8]) -> Result<Image, DataError> {
        let path = Path::new("cat/1.jpg");
        if let Ok(image) = decode(bytes, path) {
            assert_eq!(size(bytes, path).unwrap(), (image.width, image.height));
        }
        decode(bytes, path)
    }

    #[test]
    fn every_colour_type_becomes_rgb() {
        let gray = GrayImage::from_fn(9, 5, |x, y| image::Luma([(20 * x + y) as u8]));
        let png = from(&encoded(gray.clone(), ImageFormat::Png)).unwrap();
        assert_eq!((png.width, png.height, png.pixel(3, 2)), (9, 5, [62; 3]));

        let rgba = RgbaImage::from_fn(4, 4, |x, y| image::Rgba([x as u8, y as u8, 9, 0]));
        assert_eq!(from(&encoded(rgba, ImageFormat::Png)).unwrap().pixel(2, 3), [2, 3, 9]);

        let deep = DynamicImage::ImageLuma16(image::ImageBuffer::from_fn(2, 1, |x, _| image::Luma([x as u16 * 65535])));
        assert_eq!(from(&encoded(deep, ImageFormat::Png)).unwrap().rgb, [0, 0, 0, 255, 255, 255]);

        let jpeg = from(&encoded(gray, ImageFormat::Jpeg)).unwrap();
        let [r, g, b] = jpeg.pixel(3, 2);
        assert!(r == g && g == b && r.abs_diff(62) < 12, "{r} {g} {b}");
    }

    #[test]
    fn the_name_does_not_decide_the_format() {
        let png = encoded(GrayImage::new(3, 3), ImageFormat::Png);
        assert_eq!(decode(&png, Path::new("really-a-png.jpg")).unwrap().width, 3);
    }

    #[test]
    fn torn_and_foreign_files_are_corrupt_by_name() {
        let noise =
            image::RgbImage::from_fn(40, 40, |x, y| image::Rgb([(x * y) as u8, (x * 91) as u8, (y * 77) as u8]));
        let mut jpeg = Vec::new();
        JpegEncoder::new_with_quality(&mut jpeg, 90).encode_image(&noise).unwrap();
        let png = encoded(noise, ImageFormat::Png);
        from(&jpeg).unwrap();
        from(&png).unwrap();
        let cases =
            [&[][..], b"<svg/>", &jpeg[..3], &jpeg[..jpeg.len() / 2], &jpeg[..200], &png[..png.len() / 2], &png[..20]];
        for bytes in cases {
            match from(bytes) {
                Err(DataError::Corrupt { path, .. }) => assert_eq!(path, Path::new("cat/1.jpg")),
                other => panic!("{} bytes: {other:?}", bytes.len()),
            }
        }
    }

    #[test]
    fn broken_bytes_never_panic() {
        let noise =
            image::RgbImage::from_fn(24, 24, |x, y| image::Rgb([(x * y) as u8, (x * 91) as u8, (y * 77) as u8]));
        for format in [ImageFormat::Jpeg, ImageFormat::Png] {
            let mut bytes = encoded(noise.clone(), format);
            for at in 0..bytes.len() {
                let old = bytes[at];
                for new in [old ^ 0xFF, old ^ 1, 0] {
                    bytes[at] = new;
                    let _ = decode(&bytes, Path::new("x"));
                }
                bytes[at] = old;
            }
        }
    }
}
